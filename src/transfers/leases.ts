import type { PgBoss } from 'pg-boss';
import type { Database } from '../database/connection.ts';
import { type Claim, HEARTBEAT_SECONDS, type OwedImage } from './job.ts';
import { fetchTransfers } from './pgboss-sql.ts';
import type { Sending } from './prepare.ts';

/** A job that this process has. */
export type HeldClaim = Claim & {
  /** What the job is about; null when it was not owed any more. */
  image: OwedImage | null;
  /** Of one that was just received here. */
  sending: Sending | null;
  /** Another process has the job by now. */
  lost: boolean;
  /** Aborts when it is lost, or when all are to stop. */
  signal: AbortSignal;
};

/** The jobs of a queue that this process has, and that have not ended. */
export type Claims = {
  /** Takes so many jobs at most, those that have waited for longest first. */
  fetch(most: number): Promise<HeldClaim[]>;
  /** Holds the job of an image that was claimed when it was queued (handover.ts); of one that may not be there, without it. */
  hold(imageId: string, image: OwedImage | null, sending: Sending): HeldClaim;
  /** To be called when the job has ended, or is back in the queue. */
  release(claim: HeldClaim): void;
  /** Aborts the signals of all, and of those that come after. */
  stop(reason: Error): void;
  close(): void;
};

/**
 * pg-boss's own workers fetch job by job, end each in a transaction of its own, and sleep by the clock. So they are fetched
 * and ended here, many at a time; what remains of a worker is to show that each job is held, all of them in one statement.
 */
export function holdClaims(db: Database, boss: PgBoss, queue: string): Claims {
  const held = new Map<HeldClaim, AbortController>();
  let stopped: Error | undefined;

  const showSignsOfLife = async () => {
    const claims = [...held.keys()];
    if (claims.length === 0) return;
    const response = await boss.touch(queue, claims);
    if (!('settled' in response)) return;
    // Fenced to the attempt that was fetched: what was not refreshed has another holder, or has just ended.
    const refreshed = new Set(response.settled as string[]);
    for (const claim of claims) {
      if (refreshed.has(claim.id)) continue;
      claim.lost = true;
      held.get(claim)?.abort(new Error(`job ${claim.id} is no longer held by this process`));
    }
  };
  // One that fails says nothing about the claims.
  const beating = setInterval(() => showSignsOfLife().catch(() => {}), (HEARTBEAT_SECONDS / 2) * 1000);

  const hold = (id: string, retryCount: number, image: OwedImage | null, sending: Sending | null): HeldClaim => {
    const controller = new AbortController();
    if (stopped) controller.abort(stopped);
    const { signal } = controller;
    const claim = { id, name: queue, data: { imageId: id }, retryCount, image, sending, lost: false, signal };
    held.set(claim, controller);
    return claim;
  };

  return {
    async fetch(most) {
      const fetched = await fetchTransfers(db, queue, most);
      return fetched.map(({ id, retryCount, image }) => hold(id, retryCount, image, null));
    },
    hold: (imageId, image, sending) => hold(imageId, 0, image, sending),
    release: (claim) => void held.delete(claim),
    stop(reason) {
      stopped = reason;
      for (const controller of held.values()) controller.abort(reason);
    },
    close: () => clearInterval(beating),
  };
}
