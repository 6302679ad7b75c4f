import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import type { ImageFacts } from '../model/image-facts.ts';
import type { EnqueueTransfers } from './grouped-writes.ts';
import { moveImages } from './move-images.ts';

/** What was learnt of an image while its bytes came in. */
export type ReceivedFacts = ImageFacts & {
  size: number;
  /** Lower-case hex, of the whole file. */
  sha256: string;
};

/** An upload whose bytes are all here, and durable. */
export type ReceivedImage = {
  imageId: string;
  ticketId: string;
  filename: string | null;
  facts: ReceivedFacts;
  /** Its bytes, if they are at hand: then nobody has to read them to send them. */
  content?: Buffer | null;
};

export function receivedColumns({ contentType, displayWidth, displayHeight, ...facts }: ReceivedFacts) {
  return { ...facts, content_type: contentType, display_width: displayWidth, display_height: displayHeight };
}

/**
 * Counts images as received, and queues their transfers. Resolves to those that were still `uploading`, and this process's
 * (`holder`).
 */
export async function receiveImages(
  db: Database,
  arrived: ReceivedImage[],
  holder: string,
  enqueue: EnqueueTransfers,
): Promise<Image[]> {
  const received_at = new Date();
  const moves = arrived.map(({ imageId, facts }) => ({ imageId, changes: { ...receivedColumns(facts), received_at } }));
  const changes = await moveImages(db, moves, ['uploading'], 'received', { holder, beside: enqueue('moved') });
  return changes.map(({ image }) => image);
}
