import type { Logger } from 'pino';
import type { Database } from '../../database/connection.ts';
import { Image } from '../../database/models.ts';
import type { GroupedWrites } from '../../ledger/grouped-writes.ts';
import { moveImage } from '../../ledger/move-images.ts';
import type { ReceivedFacts } from '../../ledger/received-image.ts';
import { HoplaError } from '../../model/errors.ts';
import { type ImageStatus, isReceived } from '../../model/states.ts';
import type { Reach } from '../../runtime/failpoints.ts';
import type { Facts, Intake } from '../../staging/ingest.ts';
import type { Lent } from '../../staging/local/buffer-pool.ts';
import type { Staging } from '../../staging/local/folder.ts';
import type { DiskError } from '../../staging/local/io-worker.ts';

export type FinishDeps = {
  db: Database;
  staging: Staging;
  intake: Intake;
  arrivals: GroupedWrites;
  reach: Reach;
  log: Logger;
};

/**
 * Makes a complete upload durable: checks the whole file, fsyncs it, and commits row, count and transfer job together.
 *
 * Only when this resolves may the last byte be acknowledged. Call it under the upload's lock; doing it again is
 * harmless. Throws the reason of a rejection (the upload is then gone), 410 when the upload ended meanwhile, and 423
 * `upload-uncommitted` for whatever else keeps the commit from happening now.
 *
 * @param landed what is known of the file, if it was checked and fsynced with its last bytes
 */
export async function finishUpload(
  deps: FinishDeps,
  image: Image,
  size: number,
  landed: Facts | null = null,
): Promise<void> {
  const facts = landed ?? (await seal(deps, image, size).catch((error) => refuseBroken(deps, image, error)));
  await deps.reach('upload.synced');
  await commit(deps, image, toReceived(size, facts), facts.content);
  await deps.reach('upload.committed');
}

/**
 * Makes the whole file of an image durable, and says what it is. Throws the reason of a rejection, or whatever keeps it from
 * being known; when it may not be durable, it is gone.
 */
async function seal({ intake }: Pick<FinishDeps, 'intake'>, image: Expected, size: number): Promise<Facts> {
  // Both only read what is here; hashing and the disk need not wait for each other.
  const [concluded, persisted] = await Promise.allSettled([intake.conclude(image.id, size), intake.persist(image.id)]);
  if (concluded.status === 'rejected') throw concluded.reason;
  assertExpected(image, concluded.value);
  if (persisted.status === 'rejected') throw persisted.reason;
  return concluded.value;
}

/** Writes the last bytes of an upload, and checks and fsyncs its whole file. Throws as `finishUpload` does, or what writing throws. */
export async function landUpload(deps: FinishDeps, image: Image, lent: Lent): Promise<Facts> {
  try {
    const facts = await deps.intake.land(image.id, lent);
    assertExpected(image, facts);
    return facts;
  } catch (error) {
    if (error instanceof HoplaError || (error as DiskError).lost) return refuseBroken(deps, image, error);
    await assertUploading(deps, image);
    throw error;
  }
}

type Expected = Pick<Image, 'id' | 'expectedSha256'>;

export function assertExpected({ expectedSha256 }: Pick<Expected, 'expectedSha256'>, { sha256 }: Facts): void {
  if (expectedSha256 && expectedSha256 !== sha256)
    throw new HoplaError('checksum-mismatch', `The file’s SHA-256 is ${sha256}.`);
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

/** A file that cannot be read may have gone with its upload: expired, or deleted. */
async function refuseBroken(deps: FinishDeps, image: Image, error: unknown): Promise<never> {
  if (!(error instanceof HoplaError)) await assertUploading(deps, image);
  return refuse(deps, image, error);
}

/** Throws 410 when the upload has ended, which is why its file cannot be read or written. */
export async function assertUploading(deps: FinishDeps, image: Image): Promise<void> {
  const status = await currentStatus(deps, image).catch(() => 'uploading' as const);
  if (status !== 'uploading') throw gone(status);
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

export function toReceived(size: number, { sha256, image }: Facts): ReceivedFacts {
  return { size, sha256, ...image };
}

export function logReceived(log: Logger, imageId: string, ticketId: string, bytes: number): void {
  log.info({ imageId, ticketId, bytes }, 'image received');
}

async function commit(deps: FinishDeps, image: Image, facts: ReceivedFacts, content: Buffer | null): Promise<void> {
  const { id: imageId, ticketId, filename } = image;
  try {
    if (await deps.arrivals.receive({ imageId, ticketId, filename, facts, content })) {
      logReceived(deps.log, imageId, ticketId, facts.size);
      return;
    }
    const status = await currentStatus(deps, image);
    // Under its lock it is this process's alone, unless somebody broke what peers.ts relies on: then the other one decides.
    if (status === 'uploading') throw new HoplaError('upload-locked', undefined, { retryAfterMs: 1000 });
    if (!status || !isReceived(status)) throw gone(status);
  } catch (error) {
    throw error instanceof HoplaError ? error : uncommitted(error);
  }
}

async function currentStatus({ db }: FinishDeps, { id }: Image): Promise<ImageStatus | undefined> {
  return (await Image.query(db).findById(id))?.status;
}

function gone(status: ImageStatus | undefined): HoplaError {
  return new HoplaError('upload-gone', status ? `The upload is ${status}.` : 'The upload was deleted.');
}

function uncommitted(cause: unknown): HoplaError {
  return new HoplaError('upload-uncommitted', undefined, { cause, retryAfterMs: 1000 });
}
