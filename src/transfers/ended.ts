import type { PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image } from '../database/models.ts';
import { isReceived, isStaged } from '../model/states.ts';
import type { Staging } from '../staging/local/folder.ts';
import type { Receipt, Storage } from '../storage/port.ts';
import type { TransferEnd } from './failure.ts';
import type { Claim, OwedImage } from './job.ts';

export type EndedDeps = {
  db: Database;
  boss: PgBoss;
  staging: Staging;
  storage: Pick<Storage, 'remove'>;
  log: Logger;
};

/** The image needs no transfer any more: stored by an earlier run that did not get to its end, cancelled, or deleted. */
export async function settleEnded(deps: EndedDeps, claim: Claim): Promise<TransferEnd> {
  const image = await Image.query(deps.db).findById(claim.data.imageId);
  await deps.boss.complete(claim.name, claim);
  await forgetEnded(deps, image);
  return { state: 'done' };
}

/** The image was not owed any more: recorded by another worker first, or failed; or an admin deleted it meanwhile. */
export async function settleUnwanted(
  deps: EndedDeps,
  { id: imageId, ticketId }: OwedImage,
  { key }: Receipt,
  signal: AbortSignal,
): Promise<void> {
  const image = await Image.query(deps.db).findById(imageId);
  await forgetEnded(deps, image);
  if (image ? isReceived(image.status) : !(await wasDeleted(deps.db, ticketId))) {
    if (!image) deps.log.error({ imageId, ticketId, key }, 'ALARM: the database lost this image; the storage has it');
    return;
  }
  // Nobody would know of what the storage has now.
  await deps.storage.remove(key, signal);
  deps.log.info({ imageId, key }, 'image deleted during its transfer: taken back from the storage');
}

/**
 * Removes the file of an image that needs it no more. A failed image keeps its file for the admin who tries again. The file of
 * an image without a row may be all that is left of a photo: recovery puts it into quarantine.
 */
export async function forgetEnded(
  deps: Pick<EndedDeps, 'staging' | 'log'>,
  image: Pick<Image, 'id' | 'status'> | undefined,
): Promise<void> {
  if (image && !isStaged(image.status)) await forgetStaged(deps, image.id);
}

/** The log of changes is written by the transaction that deletes a ticket, and never loses a line. */
async function wasDeleted(db: Database, ticketId: string): Promise<boolean> {
  return (await db('audit_log').where({ target_id: ticketId, action: 'ticket.delete' }).first('id')) !== undefined;
}

export async function forgetStaged(
  { staging, log }: Pick<EndedDeps, 'staging' | 'log'>,
  imageId: string,
): Promise<void> {
  try {
    await staging.remove(imageId);
    staging.release(imageId);
  } catch (error) {
    log.error({ err: error, imageId }, 'a staged file could not be removed; recovery tries again');
  }
}
