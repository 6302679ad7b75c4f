import { fromKnex, type PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { type ImageChanges, moveImage } from '../ledger/move-images.ts';
import type { ErrorCode, HoplaError } from '../model/errors.ts';
import { owedStatuses } from '../model/states.ts';
import type { Breaker } from './breaker.ts';
import type { Claim, OwedImage } from './job.ts';

export type FailureDeps = {
  db: Database;
  boss: PgBoss;
  breaker: Breaker;
  /** Brings back a staged file that was set aside before its image was known; see quarantine.ts. */
  giveBack: (imageId: string) => Promise<boolean>;
  maxAttempts: number;
  log: Logger;
};

/** How a claim ended: `done`, or back in the queue for so many milliseconds. */
export type TransferEnd = { state: 'done' } | { state: 'waiting'; delayMs: number };

/** Back-off between counted tries, in milliseconds: 1, 2, 4 … s, at most 10 min; half of it is chance, so that images spread. */
const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 600_000;

function backoffMs(attempts: number): number {
  const full = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(attempts - 1, 20));
  return full / 2 + (full / 2) * Math.random();
}

/** Records that a try failed: the image is tried again later, or `failed`. */
export async function recordFailure(
  deps: FailureDeps,
  claim: Claim,
  image: OwedImage,
  failure: HoplaError,
): Promise<TransferEnd> {
  const { log, maxAttempts, breaker } = deps;
  if (failure.code === 'staged-file-lost') {
    if (await deps.giveBack(image.id)) {
      log.warn({ imageId: image.id }, 'the staged file of this image is back from quarantine');
      await handBack(deps, claim, 0);
      return { state: 'waiting', delayMs: 0 };
    }
    return giveUp(deps, claim, image, failure, image.attempts);
  }
  if (failure.code === 'storage-refused') return giveUp(deps, claim, image, failure, image.attempts + 1);
  const away = await breaker.judge(failure);
  const attempts = image.attempts + (away ? 0 : 1);
  if (attempts >= maxAttempts) return giveUp(deps, claim, image, failure, attempts);
  const delayMs = away ? 0 : backoffMs(attempts);
  await handBack(deps, claim, delayMs, { attempts, ...errorColumns(failure) });
  log.warn(
    { ...aboutFailure(image, failure), attempts, away, delayMs: Math.round(delayMs) },
    'transfer failed; it will be tried again',
  );
  return { state: 'waiting', delayMs };
}

/**
 * Ends a transfer without success: the image is `failed` and keeps its file and its place, whatever the storage said. An
 * acknowledged image is given up by a person alone.
 */
async function giveUp(
  deps: FailureDeps,
  claim: Claim,
  image: OwedImage,
  failure: HoplaError,
  attempts: number,
): Promise<TransferEnd> {
  const change = await deps.db.transaction(async (trx) => {
    const moved = await moveImage(trx, image.id, owedStatuses, 'failed', { attempts, ...errorColumns(failure) });
    await insistOnClaim(deps.boss.complete(claim.name, claim, null, { db: fromKnex(trx) }));
    return moved;
  });
  // Cancelled meanwhile, and a file that is gone then is as it should be.
  if (!change) return { state: 'done' };
  const about = { ...aboutFailure(image, failure), attempts };
  deps.log.error(about, alarms[failure.code] ?? 'gave up on an image; an admin may retry it');
  return { state: 'done' };
}

const alarms: Partial<Record<ErrorCode, string>> = {
  'storage-refused': 'ALARM: the storage refuses this image; its file is kept until an admin retries or deletes it',
  'staged-file-lost': 'ALARM: the staged file of a received image is gone, or was changed',
};

function aboutFailure({ id, ticketId }: OwedImage, failure: HoplaError) {
  return { err: failure, imageId: id, ticketId, code: failure.code };
}

/** Puts a claimed job back into the queue, to be tried after `delayMs`, and its image back to `received`. */
export async function handBack(
  { db, boss }: Pick<FailureDeps, 'db' | 'boss'>,
  claim: Claim,
  delayMs: number,
  changes?: ImageChanges,
): Promise<void> {
  await db.transaction(async (trx) => {
    // Of one that was not noted as begun there may be nothing to change.
    await moveImage(trx, claim.data.imageId, changes ? owedStatuses : ['transferring'], 'received', changes);
    await insistOnClaim(boss.fail(claim.name, claim, null, { db: fromKnex(trx) }));
    // In seconds from the database's now: our clock may be another.
    await boss.update(claim.name, undefined, { id: claim.id, startAfter: delayMs / 1000, db: fromKnex(trx) });
  });
}

/** Another worker has the job by now, so what this one wanted to record is not true any more. */
export class ClaimLost extends Error {
  override name = 'ClaimLost';
}

/** pg-boss changes nothing for a claim that was lost, and does not reject; this does, to undo the rest of the transaction. */
async function insistOnClaim(change: Promise<object>): Promise<void> {
  const response = await change;
  if (!('affected' in response) || response.affected !== 1) throw new ClaimLost('another worker has this job');
}

const MAX_MESSAGE_LENGTH = 1_000;

/** The text may be a stranger's: Postgres takes no NUL and no half of a surrogate pair, and the failure must be recorded. */
function errorColumns({ code, message }: HoplaError): ImageChanges {
  const text = message.slice(0, MAX_MESSAGE_LENGTH).toWellFormed().replaceAll('\0', '');
  return { error_code: code, error_message: text };
}
