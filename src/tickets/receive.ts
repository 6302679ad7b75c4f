import type { Knex } from 'knex';
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { type Change, moveImage } from './transition.ts';

/** What was learnt of an image while its bytes came in. */
export type ReceivedFacts = {
  size: number;
  /** Lower-case hex, of the whole file. */
  sha256: string;
  md5: string;
  contentType: string | null;
  format: string | null;
  width: number | null;
  height: number | null;
};

/** Puts the transfer of an image into the queue, inside the given transaction. */
export type EnqueueTransfer = (trx: Knex.Transaction, image: Image) => Promise<void>;

/**
 * Counts an image as received and queues its transfer, in one transaction: from here on its last byte may be
 * acknowledged. The staged file must be fsynced before. Null when the image is no longer `uploading`, or no longer this
 * process's (its holder not the one that `image` names).
 */
export async function receiveImage(
  db: Database,
  image: Pick<Image, 'id' | 'holder'>,
  facts: ReceivedFacts,
  enqueue: EnqueueTransfer,
): Promise<Change | null> {
  const { contentType, ...same } = facts;
  return db.transaction(async (trx) => {
    const received = { ...same, content_type: contentType, received_at: new Date() };
    const change = await moveImage(trx, image.id, ['uploading'], 'received', received, image.holder);
    if (change) await enqueue(trx, change.image);
    return change;
  });
}
