import type { Caller } from '../../identity/tokens.ts';
import { HoplaError } from '../../model/errors.ts';

/** Counts the open event streams of each token and each user. */
export type StreamLimits = {
  /** Throws 429 `too-many-requests` when there is no room for one more. */
  assertRoom(caller: Caller): void;
  /** Counts a stream that begins. */
  enter(caller: Caller): void;
  leave(stream: { tokenId: string; userId: string }): void;
};

export type StreamLimitsOptions = { perToken: number; perUser: number };

/** A listener that left may be noticed only when its heartbeat fails, within about so long. */
const RETRY_AFTER_MS = 15_000;

export function createStreamLimits({ perToken, perUser }: StreamLimitsOptions): StreamLimits {
  const open = new Map<string, number>();
  const add = (id: string, more: 1 | -1) => {
    const count = (open.get(id) ?? 0) + more;
    if (count > 0) open.set(id, count);
    else open.delete(id);
  };
  const assertRoom = ({ tokenId, user }: Caller) => {
    for (const [id, most, whose] of [
      [tokenId, perToken, 'token'],
      [user.id, perUser, 'user'],
    ] as const) {
      if ((open.get(id) ?? 0) < most) continue;
      throw new HoplaError('too-many-requests', `At most ${most} event streams of one ${whose} are open at once.`, {
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
  };
  return {
    assertRoom,
    enter(caller) {
      add(caller.tokenId, 1);
      add(caller.user.id, 1);
    },
    leave({ tokenId, userId }) {
      add(tokenId, -1);
      add(userId, -1);
    },
  };
}
