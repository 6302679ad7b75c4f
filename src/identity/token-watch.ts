import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { stillValid } from './tokens.ts';

/** Ends requests that last longer than the trust in their token. */
export type TokenWatch = {
  /** Calls `end`, once, soon after the token has stopped being valid. Returns what ends the watch. */
  watch(tokenId: string, end: () => void): () => void;
  close(): void;
};

type Watched = { tokenId: string; since: number; end: () => void };

/**
 * Most requests are over by then, and cost no question. A token that is revoked, by whichever process, is believed for 2 s by
 * those who know it (callers.ts); a body that began at their end is noticed at the second look after: 6 s at most.
 */
const LOOK_MS = 2_000;

export function createTokenWatch(db: Database, log: Logger): TokenWatch {
  const watched = new Set<Watched>();
  let looking = false;

  const look = async () => {
    const now = performance.now();
    const lasting = [...watched].filter(({ since }) => now - since >= LOOK_MS);
    if (lasting.length === 0) return;
    const valid = await stillValid(db, [...new Set(lasting.map(({ tokenId }) => tokenId))]);
    for (const one of lasting) if (!valid.has(one.tokenId) && watched.delete(one)) one.end();
  };
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    look()
      .catch((error) => log.debug({ err: error }, 'tokens of running requests could not be checked'))
      .finally(() => {
        looking = false;
      });
  }, LOOK_MS);

  return {
    watch(tokenId, end) {
      const one = { tokenId, since: performance.now(), end };
      watched.add(one);
      return () => void watched.delete(one);
    },
    close: () => clearInterval(timer),
  };
}
