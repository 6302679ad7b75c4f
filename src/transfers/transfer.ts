import { fromKnex, type Job, type PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image, type Ticket } from '../database/models.ts';
import { owedStatuses } from '../database/states.ts';
import { HoplaError } from '../errors.ts';
import type { ReportProgress } from '../progress/hub.ts';
import type { Receipt, Storage } from '../storage/port.ts';
import { recordStored } from '../tickets/complete.ts';
import { type ImageChanges, moveImage } from '../tickets/transition.ts';
import type { Staging } from '../uploads/staging.ts';
import type { Breaker } from './breaker.ts';
import type { TransferJob } from './queue.ts';

export type TransferDeps = {
  db: Database;
  boss: PgBoss;
  staging: Staging;
  storage: Storage;
  breaker: Breaker;
  reportProgress: ReportProgress;
  maxAttempts: number;
  log: Logger;
};

/** One claim of a job. */
export type Claim = Pick<Job<TransferJob>, 'id' | 'name' | 'data' | 'retryCount'>;

/** How a claim ended: `done`, or back in the queue for so many milliseconds. */
export type TransferEnd = { state: 'done' } | { state: 'waiting'; delayMs: number };

/**
 * Brings one image to the storage. Safe to run again from the start after any interruption, a complete run included.
 *
 * Every ending is one transaction of image, ticket and job. Only then does the staged file go, and a file that was not
 * there any more is no error. Throws when the database cannot record the end, or `signal` says to stop: the job then
 * comes back by itself.
 */
export async function transferImage(deps: TransferDeps, claim: Claim, signal: AbortSignal): Promise<TransferEnd> {
  const { db, storage, staging, breaker, reportProgress } = deps;
  await breaker.pass(signal);
  const begun = await moveImage(db, claim.data.imageId, owedStatuses, 'transferring');
  if (!begun) return settleEnded(deps, claim);
  const { image, ticket } = begun;
  let receipt: Receipt;
  try {
    receipt = await storage.put(toStaged(image, staging), {
      signal,
      onProgress: (bytes) =>
        reportProgress({
          ticketId: ticket.id,
          userId: ticket.userId,
          imageId: image.id,
          leg: 'transfer',
          bytes,
          total: image.size,
        }),
    });
  } catch (error) {
    signal.throwIfAborted();
    const failure =
      error instanceof HoplaError
        ? error
        : new HoplaError('storage-unavailable', 'The transfer broke.', { cause: error });
    return recordFailure(deps, claim, image, failure);
  }
  const stored = await recordStored(db, image.id, receipt, (trx) => finishJob(deps, trx, claim));
  await forgetStaged(deps, image.id);
  if (stored) logStored(deps.log, stored);
  return { state: 'done' };
}

function toStaged(image: Image, staging: Staging) {
  const { id, ticketId, size, md5, filename, contentType } = image;
  // The table's constraints promise both for every received image.
  if (size === null || md5 === null) throw new Error(`image ${id} was received without size or md5`);
  return { id, ticketId, path: staging.pathOf(id), bytes: size, md5, filename, contentType };
}

function logStored(log: Logger, { image, ticket }: { image: Image; ticket: Ticket }): void {
  log.info({ imageId: image.id, ticketId: ticket.id, bytes: image.size, url: image.url }, 'image stored');
  if (ticket.status === 'completed') log.info({ ticketId: ticket.id, images: ticket.expected }, 'ticket completed');
}

/** The image needs no transfer any more: stored by an earlier run that did not get to its end, or deleted. */
async function settleEnded(deps: TransferDeps, claim: Claim): Promise<TransferEnd> {
  const image = await Image.query(deps.db).findById(claim.data.imageId);
  await deps.boss.complete(claim.name, claim);
  // A failed image keeps its file for the admin who tries again.
  if (image?.status !== 'failed') await forgetStaged(deps, claim.data.imageId);
  return { state: 'done' };
}

/** Back-off between counted tries, in milliseconds: 1, 2, 4 … s, at most 10 min; half of it is chance, so that images spread. */
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 600_000;

function backoffMs(attempts: number): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempts - 1, 20));
  return full / 2 + (full / 2) * Math.random();
}

async function recordFailure(
  deps: TransferDeps,
  claim: Claim,
  image: Image,
  failure: HoplaError,
): Promise<TransferEnd> {
  const { log, maxAttempts, breaker } = deps;
  const about = { err: failure, imageId: image.id, ticketId: image.ticketId, code: failure.code };
  if (failure.code === 'storage-refused') {
    log.warn(about, 'the storage refuses this image for good');
    await end(deps, claim, image, 'rejected', failure);
    await forgetStaged(deps, image.id);
    return { state: 'done' };
  }
  if (failure.code === 'staged-file-lost') {
    log.error(about, 'ALARM: the staged file of a received image is gone');
    await end(deps, claim, image, 'failed', failure);
    return { state: 'done' };
  }
  const away = await breaker.judge(failure);
  const attempts = image.attempts + (away ? 0 : 1);
  if (attempts >= maxAttempts) {
    log.error({ ...about, attempts }, 'gave up on an image; an admin may retry it');
    await end(deps, claim, image, 'failed', failure, { attempts });
    return { state: 'done' };
  }
  const delayMs = away ? 0 : backoffMs(attempts);
  log.warn({ ...about, attempts, away, delayMs: Math.round(delayMs) }, 'transfer failed; it will be tried again');
  await handBack(deps, claim, delayMs, { attempts, ...errorColumns(failure) });
  return { state: 'waiting', delayMs };
}

async function end(
  deps: TransferDeps,
  claim: Claim,
  image: Image,
  status: 'rejected' | 'failed',
  failure: HoplaError,
  changes: ImageChanges = {},
): Promise<void> {
  await deps.db.transaction(async (trx) => {
    await moveImage(trx, image.id, ['transferring'], status, { ...changes, ...errorColumns(failure) });
    await finishJob(deps, trx, claim);
  });
}

/** Puts a claimed job back into the queue, to be tried after `delayMs`, and its image back to `received`. */
export async function handBack(
  { db, boss }: Pick<TransferDeps, 'db' | 'boss'>,
  claim: Claim,
  delayMs: number,
  changes: ImageChanges = {},
): Promise<void> {
  const startAfter = new Date(Date.now() + delayMs);
  await db.transaction(async (trx) => {
    await moveImage(trx, claim.data.imageId, ['transferring'], 'received', changes);
    await boss.fail(claim.name, claim, { changes }, { db: fromKnex(trx) });
    await boss.update(claim.name, undefined, { id: claim.id, startAfter, db: fromKnex(trx) });
  });
}

/** A claim that was lost meanwhile is no reason to lose the receipt: whoever has it now finds the image stored. */
async function finishJob({ boss }: TransferDeps, trx: Database, claim: Claim): Promise<void> {
  await boss.complete(claim.name, claim, null, { db: fromKnex(trx) });
}

function errorColumns({ code, message }: HoplaError): ImageChanges {
  return { error_code: code, error_message: message };
}

async function forgetStaged({ staging }: TransferDeps, imageId: string): Promise<void> {
  await staging.remove(imageId);
  staging.release(imageId);
}
