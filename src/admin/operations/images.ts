import type { PgBoss } from 'pg-boss';
import type { Database } from '../../database/connection.ts';
import { Image } from '../../database/models.ts';
import { moveImage } from '../../ledger/move-images.ts';
import { type ErrorCode, HoplaError } from '../../model/errors.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { enqueueAgain } from '../../transfers/queue.ts';
import { type Actor, imageRecord, recordChange } from './audit.ts';
import { getImage, getTicket } from './find.ts';
import { type Page, type PageRequest, toPage } from './page.ts';

/** Every image of a ticket, ended ones included, in the order they were begun; the cursor is the last id. */
export async function listImages(
  db: Database,
  { ticketId, limit, cursor }: PageRequest & { ticketId: string },
): Promise<Page<Image>> {
  await getTicket(db, ticketId);
  const images = Image.query(db)
    .where({ ticket_id: ticketId })
    .orderBy('id')
    .limit(limit + 1);
  if (cursor !== undefined) images.where('id', '>', cursor);
  return toPage(await images, limit, (image) => image.id);
}

export type RetryDeps = {
  db: Database;
  by: Actor;
  /** The staging area of this machine: only who sees the file can promise a retry. */
  staging: Staging | null;
  /** Asked for when there is something to queue. */
  boss: () => Promise<PgBoss>;
};

export type RetryOutcome = { image: Image; refused: { code: ErrorCode; message: string } | null };

/**
 * Puts a failed image back to `received` and queues its transfer, in one transaction. Its tries are counted from zero.
 * Throws `upload-not-found`, `staged-file-lost`, and `invalid-request` for an image that has not failed.
 */
export async function retryImage(deps: RetryDeps, imageId: string): Promise<Image> {
  const image = await getImage(deps.db, imageId);
  await assertRetryable(image, deps.staging);
  const boss = await deps.boss();
  return deps.db.transaction(async (trx) => {
    const change = await moveImage(trx, imageId, ['failed'], 'received', {
      attempts: 0,
      error_code: null,
      error_message: null,
    });
    if (!change) throw new HoplaError('invalid-request', `Image ${imageId} changed meanwhile; look at it again.`);
    await enqueueAgain(boss, trx, change.image);
    const record = { target: imageId, before: imageRecord(image), after: imageRecord(change.image) };
    await recordChange(trx, deps.by, { action: 'image.retry', ...record });
    return change.image;
  });
}

async function assertRetryable(image: Image, staging: Staging | null): Promise<void> {
  if (image.status !== 'failed')
    throw new HoplaError('invalid-request', `Image ${image.id} is ${image.status}; only a failed one can be retried.`);
  if (image.staging !== staging?.id) {
    const where = `The file of image ${image.id} is in staging area ${image.staging}`;
    throw new HoplaError('invalid-request', `${where}; run this on its machine, with its STAGING_DIR.`);
  }
  const bytes = await staging.sizeOf(image.id);
  if (bytes === image.size) return;
  const found = bytes === null ? 'is gone' : `has ${bytes} bytes instead of ${image.size}`;
  throw new HoplaError(
    'staged-file-lost',
    `The staged file of image ${image.id} ${found}; it has to be uploaded again.`,
  );
}

const BATCH = 200;

/** Retries every failed image, of one ticket or of all, and tells of each how it went. */
export async function* retryImages(deps: RetryDeps, ticketId?: string): AsyncGenerator<RetryOutcome> {
  if (ticketId !== undefined) await getTicket(deps.db, ticketId);
  for (let after: string | undefined; ; ) {
    const failed = Image.query(deps.db).where({ status: 'failed' }).orderBy('id').limit(BATCH);
    if (ticketId !== undefined) failed.where({ ticket_id: ticketId });
    if (after !== undefined) failed.where('id', '>', after);
    const batch = await failed;
    for (const image of batch) yield await tryAgain(deps, image);
    after = batch.at(-1)?.id;
    if (batch.length < BATCH) return;
  }
}

async function tryAgain(deps: RetryDeps, image: Image): Promise<RetryOutcome> {
  try {
    return { image: await retryImage(deps, image.id), refused: null };
  } catch (error) {
    if (!(error instanceof HoplaError)) throw error;
    return { image, refused: { code: error.code, message: error.message } };
  }
}
