import type { FileHandle } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image } from '../database/models.ts';
import { isReceived } from '../database/states.ts';
import { HoplaError } from '../errors.ts';
import type { Reach } from '../failpoints.ts';
import { type EnqueueTransfer, receiveImage } from '../tickets/receive.ts';
import { moveImage } from '../tickets/transition.ts';
import type { Facts, Intake } from './intake.ts';
import type { Staging } from './staging.ts';

export type FinishDeps = {
  db: Database;
  staging: Staging;
  intake: Intake;
  enqueueTransfer: EnqueueTransfer;
  reach: Reach;
  log: Logger;
};

/**
 * Makes a complete upload durable: checks the whole file, fsyncs it, and commits row, count and transfer job together.
 *
 * Only when this resolves may the last byte be acknowledged. Call it under the upload's lock; doing it again is
 * harmless. Throws the reason of a rejection (the upload is then gone), 410 when the upload ended meanwhile, and 423
 * `upload-uncommitted` for whatever else keeps the commit from happening now.
 */
export async function finishUpload(deps: FinishDeps, image: Image, handle: FileHandle, size: number): Promise<void> {
  const facts = await deps.intake.conclude(image.id, handle, size).catch((error) => refuse(deps, image, error));
  if (image.expectedSha256 && image.expectedSha256 !== facts.sha256) {
    await refuse(deps, image, new HoplaError('checksum-mismatch', `The file’s SHA-256 is ${facts.sha256}.`));
  }
  await persist(deps, image, handle);
  await deps.reach('upload.synced');
  await commit(deps, image, size, facts);
  await deps.reach('upload.committed');
  deps.intake.forget(image.id);
}

/** Turns an unacceptable image away, for good; passes every other error on as something that may pass. */
export async function refuse(deps: FinishDeps, image: Image, error: unknown): Promise<never> {
  if (!(error instanceof HoplaError)) throw uncommitted(error);
  const rejected = await moveImage(deps.db, image.id, ['uploading'], 'rejected', {
    error_code: error.code,
    error_message: error.message,
  });
  if (rejected) {
    await discardStaged(deps, rejected.image);
    deps.log.info({ imageId: image.id, ticketId: image.ticketId, code: error.code }, 'image rejected');
  }
  throw error;
}

/** Removes what an ended upload left in the staging area. */
export async function discardStaged(
  { staging, intake }: Pick<FinishDeps, 'staging' | 'intake'>,
  image: Image,
): Promise<void> {
  intake.forget(image.id);
  await staging.remove(image.id);
  staging.release(image.id);
}

async function persist(deps: FinishDeps, image: Image, handle: FileHandle): Promise<void> {
  try {
    await deps.staging.persist(image.id, handle);
  } catch (error) {
    // Nobody was told that the last byte is safe, and HEAD says offset 0 from now on.
    deps.log.error({ err: error, imageId: image.id }, 'staged file could not be fsynced; the upload starts over');
    deps.intake.forget(image.id);
    throw uncommitted(error);
  }
}

async function commit(deps: FinishDeps, image: Image, size: number, { sha256, md5, header }: Facts): Promise<void> {
  const { contentType = null, format = null, width = null, height = null } = header ?? {};
  const facts = { size, sha256, md5, contentType, format, width, height };
  let status: string | undefined;
  try {
    const change = await receiveImage(deps.db, image, facts, deps.enqueueTransfer);
    if (change) {
      deps.log.info({ imageId: image.id, ticketId: image.ticketId, bytes: size }, 'image received');
      return;
    }
    const current = await Image.query(deps.db).findById(image.id);
    if (current && isReceived(current.status)) return;
    status = current?.status;
  } catch (error) {
    throw uncommitted(error);
  }
  // Under its lock it is this process's alone, unless somebody broke what peers.ts relies on: then the other one decides.
  if (status === 'uploading') throw new HoplaError('upload-locked', undefined, { retryAfterMs: 1000 });
  throw new HoplaError('upload-gone', status ? `The upload is ${status}.` : 'The upload was deleted.');
}

function uncommitted(cause: unknown): HoplaError {
  return new HoplaError('upload-uncommitted', undefined, { cause, retryAfterMs: 1000 });
}
