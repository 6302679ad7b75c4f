import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { prepared } from '../database/prepared.ts';
import type { CommitReceipts, EnqueueTransfers } from '../tickets/arrivals.ts';
import { enqueueTransfers, queueOf } from './queue.ts';
import type { Workers } from './worker.ts';

/**
 * Hands images to the workers of the process that received them, as many as have nothing to do: their jobs are claimed in
 * the transaction that queues them. So there is no moment at which another process could fetch them too, nobody has to be
 * called and to look into the queue, and the first byte leaves right after the commit. A process that dies leaves a job as
 * it does after a fetch.
 *
 * While no worker has room, as under load, there is nothing to claim, and the statement that receives is all there is.
 */
export type HandOver = {
  enqueue: EnqueueTransfers;
  commit: CommitReceipts;
  /** Whether an image that was received is in good hands, so that nobody needs to be called. */
  has(imageId: string): boolean;
  /** From here on there are workers. */
  attach(workers: Workers): void;
};

export function createHandOver(db: Database, stagingId: string): HandOver {
  const given = new Set<string>();
  let workers: Workers | undefined;
  return {
    enqueue: enqueueTransfers,
    async commit(receive) {
      // Two that commit at once may both fill the room; what is too much then waits here for its turn.
      const room = workers?.room() ?? 0;
      if (room === 0) return receive(db);
      let claimed: Image[] = [];
      const end = (committed: boolean) => {
        for (const image of claimed) void workers?.take(image, committed).finally(() => given.delete(image.id));
      };
      const run = async (trx: Database): Promise<Image[]> => {
        const images = await receive(trx);
        const received = images.filter(({ status }) => status === 'received');
        if (received.length > 0) claimed = await claimQueued(trx, stagingId, received.slice(0, room));
        for (const { id } of claimed) given.add(id);
        return images;
      };
      const images = await db.transaction(run).catch((error) => {
        // Or nobody knows whether it was.
        end(false);
        throw error;
      });
      end(true);
      return images;
    },
    has: (imageId) => given.has(imageId),
    attach(those) {
      workers = those;
    },
  };
}

/** As pg-boss's fetch does it, for jobs that nobody has fetched yet; resolves to the images whose jobs were claimed. */
async function claimQueued(trx: Database, stagingId: string, images: Image[]): Promise<Image[]> {
  const { rows } = (await prepared(
    trx,
    `UPDATE pgboss.job SET state = 'active', started_on = now(), heartbeat_on = now()
     WHERE name = ? AND id = ANY (?::uuid[]) AND state = 'created' RETURNING id`,
    [queueOf(stagingId), images.map(({ id }) => id)],
  )) as { rows: { id: string }[] };
  return images.filter(({ id }) => rows.some((row) => row.id === id));
}
