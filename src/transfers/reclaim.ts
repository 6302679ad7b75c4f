import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Peers } from '../cluster/membership-unix.ts';
import type { Database } from '../database/connection.ts';
import { HEARTBEAT_SECONDS } from './job.ts';
import { giveBackTransfers, readQueueClock } from './pgboss-sql.ts';

/** Brings back the transfers of processes that ended in the middle of them. */
export type Reclaim = { close(): Promise<void> };

export type ReclaimDeps = {
  db: Database;
  peers: Peers;
  stagingId: string;
  /** Calls the workers of this process when there is something to do. */
  wake: () => void;
  log: Logger;
};

/** Every job under way shows a sign of life at least this often: pg-boss's half of a heartbeat, and a second for the way. */
const SIGN_OF_LIFE_MS = (HEARTBEAT_SECONDS / 2 + 1) * 1000;
const RETRY_MS = 1_000;

/**
 * Gives back at once what a process left that ran alone: the jobs still marked as active cannot be anybody else's. To be
 * called before any worker starts. Resolves to false when others are there, whose jobs they may be.
 */
export async function reclaimAlone({ db, peers, stagingId, log }: Omit<ReclaimDeps, 'wake'>): Promise<boolean> {
  if (!peers.alone) return false;
  const jobs = await giveBackTransfers(db, stagingId, null);
  if (jobs > 0) log.info({ jobs }, 'resuming transfers that a process left behind');
  return true;
}

/**
 * Gives back what a process leaves that ends beside this one, well before pg-boss would: every job that has shown no sign
 * of life since then, when all the others had the time to. Should one of them only have been slow, its attempt is fenced
 * and the work done twice, no more. `now` looks for the jobs of one that ended before this process came.
 */
export function reclaimBeside({ db, peers, stagingId, wake, log }: ReclaimDeps, { now }: { now: boolean }): Reclaim {
  const closing = new AbortController();
  const { signal } = closing;
  const running = new Set<Promise<void>>();

  const insist = async <T>(query: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await query();
      } catch (error) {
        log.debug({ err: error }, 'transfers are not reclaimed yet');
        await delay(RETRY_MS, undefined, { signal });
      }
    }
  };
  const reclaim = async () => {
    const since = await insist(() => readQueueClock(db));
    await delay(SIGN_OF_LIFE_MS, undefined, { signal });
    const jobs = await insist(() => giveBackTransfers(db, stagingId, since));
    if (jobs === 0) return;
    log.info({ jobs }, 'taking over transfers of a process that has ended');
    wake();
  };
  const begin = () => {
    // Ends by abort alone.
    const run: Promise<void> = reclaim()
      .catch(() => {})
      .finally(() => running.delete(run));
    running.add(run);
  };

  const leave = peers.onEnd(begin);
  if (now) begin();
  return {
    async close() {
      leave();
      closing.abort();
      await Promise.all(running);
    },
  };
}
