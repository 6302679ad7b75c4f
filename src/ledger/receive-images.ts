import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { sql } from '../database/sql.ts';
import type { EnqueueTransfers } from './enqueue.ts';
import { moveImages } from './move-images.ts';
import { type ReceivedImage, receivedColumns } from './received-image.ts';

/**
 * Counts images as received and queues their transfers, in one statement. Resolves to the images that were still
 * `uploading` and held by `holder`, this process.
 */
export async function receiveImages(
  db: Database,
  arrived: ReceivedImage[],
  holder: string,
  enqueue: EnqueueTransfers,
): Promise<Image[]> {
  const received_at = new Date();
  const moves = arrived.map(({ imageId, facts }) => ({ imageId, changes: { ...receivedColumns(facts), received_at } }));
  const changes = await moveImages(db, moves, ['uploading'], 'received', { holder, beside: enqueue(sql`moved`) });
  return changes.map(({ image }) => image);
}
