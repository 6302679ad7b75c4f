import type { PgBoss } from 'pg-boss';
import type { Database } from '../database/connection.ts';
import { prepared } from '../database/prepared.ts';
import type { EnqueueTransfers } from '../tickets/arrivals.ts';
import { enqueueTransfers, queueOf } from './queue.ts';
import type { Workers } from './worker.ts';

/**
 * Hands images to the workers of the process that received them, as many as have nothing to do: their jobs are claimed in
 * the transaction that queues them. So there is no moment at which another process could fetch them too, nobody has to be
 * called and to look into the queue, and the first byte leaves right after the commit. A process that dies leaves a job as
 * it does after a fetch.
 */
export type HandOver = {
  enqueue: EnqueueTransfers;
  /** Whether an image that was received is in good hands, so that nobody needs to be called. */
  has(imageId: string): boolean;
  /** From here on there are workers. */
  attach(workers: Workers): void;
};

export function createHandOver(boss: PgBoss, stagingId: string): HandOver {
  const given = new Set<string>();
  let workers: Workers | undefined;
  return {
    async enqueue(trx, images) {
      const ids = images.map(({ id }) => id);
      await enqueueTransfers(boss, trx, stagingId, ids);
      const room = workers?.room() ?? 0;
      if (room === 0) return () => {};
      const claimed = await claimQueued(trx, stagingId, ids.slice(0, room));
      for (const id of claimed) given.add(id);
      return (committed) => {
        for (const image of images)
          if (claimed.has(image.id)) void workers?.take(image, committed).finally(() => given.delete(image.id));
      };
    },
    has: (imageId) => given.has(imageId),
    attach(those) {
      workers = those;
    },
  };
}

/** As pg-boss's fetch does it, for jobs that nobody has fetched yet; resolves to their ids. */
async function claimQueued(trx: Database, stagingId: string, ids: string[]): Promise<Set<string>> {
  const { rows } = (await prepared(
    trx,
    `UPDATE pgboss.job SET state = 'active', started_on = now(), heartbeat_on = now()
     WHERE name = ? AND id = ANY (?::uuid[]) AND state = 'created' RETURNING id`,
    [queueOf(stagingId), ids],
  )) as { rows: { id: string }[] };
  return new Set(rows.map(({ id }) => id));
}
