import { randomUUIDv7 } from 'node:crypto';
import type { Database } from '../../src/database/connection.ts';
import type { Image } from '../../src/database/models.ts';
import { claimPlaces } from '../../src/ledger/claim-slots.ts';
import { type ImageChanges, moveImage } from '../../src/ledger/move-images.ts';
import { type ImageStatus, isReceived } from '../../src/model/states.ts';
import { enqueueTransfers } from '../../src/transfers/pgboss-sql.ts';

export type ImageTraits = { filename?: string; staging?: string; size?: number; sha256?: string; md5?: string };

/** A new image in a ticket, brought to a state. */
export async function makeImage(
  db: Database,
  ticketId: string,
  status: ImageStatus,
  { filename = 'photo.jpg', staging = 'elsewhere', size = 10, sha256, md5 }: ImageTraits = {},
): Promise<Image> {
  const imageId = randomUUIDv7();
  const request = { ticketId, imageId, size, filename, staging };
  const rest = { slot: null, uploadMetadata: null, expectedSha256: null, holder: null, facts: null };
  const [image] = await claimPlaces(db, [{ ...request, ...rest }], enqueueTransfers);
  if (!image) throw new Error('there was no place');
  if (status === 'uploading') return image;
  const received = { size, sha256: sha256 ?? 'a'.repeat(64), md5: md5 ?? 'b'.repeat(32), received_at: new Date() };
  const facts: ImageChanges = isReceived(status) ? received : {};
  if (status === 'stored') {
    const key = `hopla/${imageId}`;
    Object.assign(facts, { storage_key: key, url: `https://img.example/${key}`, stored_at: new Date() });
  }
  if (status === 'failed') Object.assign(facts, { attempts: 7, error_code: 'storage-mismatch', error_message: 'no' });
  const change = await moveImage(db, imageId, ['uploading'], status, facts);
  if (!change) throw new Error('the image did not move');
  return change.image;
}
