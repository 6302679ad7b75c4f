import type { PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image, type Ticket } from '../database/models.ts';
import { isReceived, isStaged, owedStatuses } from '../database/states.ts';
import { HoplaError } from '../errors.ts';
import type { Reach } from '../failpoints.ts';
import type { ReportProgress } from '../progress/hub.ts';
import type { Receipt, Storage } from '../storage/port.ts';
import type { Change } from '../tickets/changes.ts';
import { type ImageChanges, moveImage } from '../tickets/transition.ts';
import type { Staging } from '../uploads/staging.ts';
import type { Breaker } from './breaker.ts';
import { type Claim, inside, type OwedImage } from './queue.ts';
import type { Records } from './records.ts';
import type { PrepareSending, Sending } from './send.ts';
import type { TakeTurn } from './turns.ts';

export type TransferDeps = {
  db: Database;
  boss: PgBoss;
  records: Records;
  staging: Staging;
  prepare: PrepareSending;
  storage: Pick<Storage, 'remove'>;
  breaker: Breaker;
  takeTurn: TakeTurn;
  reportProgress: ReportProgress;
  /** Told of each image once it is committed as stored. */
  countStored: (image: Image) => void;
  /** Brings back a staged file that was set aside before its image was known; see quarantine.ts. */
  giveBack: (imageId: string) => Promise<boolean>;
  maxAttempts: number;
  reach: Reach;
  log: Logger;
};

/**
 * A transfer from the queue is noted as begun when it has taken so long, in milliseconds: one that is over before is seen by
 * nobody, and its note would take as much as all else that is recorded of it.
 */
const QUICK_MS = 250;
/** Who just sent an image hears at once that it goes on; which is noted when its first byte has left, not before. */
const FRESH_MS = 1;

/** How a claim ended: `done`, or back in the queue for so many milliseconds. */
export type TransferEnd = { state: 'done' } | { state: 'waiting'; delayMs: number };

/**
 * Brings one image to the storage. Safe to run again from the start after any interruption, a complete run included.
 *
 * Every ending is one transaction of image, ticket and job. Only then does the staged file go, and a file that was not
 * there any more is no error. Throws when the database cannot record the end, or `signal` says to stop: the job then
 * comes back by itself. Throws `ClaimLost` when another worker has it.
 */
export async function transferImage(
  deps: TransferDeps,
  claim: Claim & { image?: OwedImage | null; sending?: Sending | null },
  signal: AbortSignal,
): Promise<TransferEnd> {
  const { prepare, breaker, takeTurn, reach } = deps;
  await reach('transfer.fetched');
  await breaker.pass(signal);
  // Of one that is not known nobody knows yet whether it needs to be sent.
  const early = claim.image ? null : noteBegin(deps, claim, 0);
  const image = claim.image ?? (await early?.begun)?.image;
  if (!image) return settleEnded(deps, claim);
  const sending = claim.sending ?? prepare(image);
  // What is not here yet is nothing to take a turn for.
  await sending.ready;
  const endTurn = await takeTurn(signal);
  const noting = early ?? noteBegin(deps, claim, claim.sending ? FRESH_MS : QUICK_MS);
  let receipt: Receipt;
  let others = false;
  try {
    // The storage may have asked for a pause meanwhile.
    await breaker.pass(signal);
    receipt = await sending.send({
      signal,
      onProgress: (bytes) => {
        void reach('transfer.sending');
        void noting.begun.then((begun) => begun && report(deps, begun, bytes)).catch(() => {});
      },
    });
    await noting.end();
    await reach('transfer.answered');
  } catch (error) {
    const noted = noting.end();
    signal.throwIfAborted();
    // When that could not be noted, neither can this.
    await noted;
    const failure =
      error instanceof HoplaError
        ? error
        : new HoplaError('storage-unavailable', 'The transfer broke.', { cause: error });
    return recordFailure(deps, claim, image, failure);
  } finally {
    // Others send while the database records this one.
    others = endTurn();
  }
  const stored = await deps.records.store(claim, receipt, others);
  await reach('transfer.recorded');
  if (!stored) {
    await settleUnwanted(deps, image.id, receipt, signal);
    return { state: 'done' };
  }
  await forgetStaged(deps, image.id);
  await reach('transfer.forgotten');
  deps.countStored(stored.image);
  logStored(deps.log, stored);
  return { state: 'done' };
}

type Noting = {
  /** What was noted; null when the image needs no transfer any more, or the transfer ended first. */
  begun: Promise<Change | null>;
  /** Waits for what is being noted; what is not yet never will be. */
  end(): Promise<unknown>;
};

/** Notes that a transfer begins, `delayMs` from now. */
function noteBegin({ records, reach }: TransferDeps, claim: Claim, delayMs: number): Noting {
  const { promise: begun, resolve } = Promise.withResolvers<Change | null>();
  const note = async () => {
    const change = await records.begin(claim);
    if (change) await reach('transfer.begun');
    return change;
  };
  // Whoever needs it awaits it.
  begun.catch(() => {});
  let timer: NodeJS.Timeout | undefined;
  if (delayMs > 0) timer = setTimeout(() => resolve(note()), delayMs);
  else resolve(note());
  return {
    begun,
    end() {
      clearTimeout(timer);
      resolve(null);
      return begun;
    },
  };
}

function report({ reportProgress }: TransferDeps, { image, ticket }: Change, bytes: number): void {
  const { id: ticketId, userId } = ticket;
  reportProgress({ ticketId, userId, imageId: image.id, leg: 'transfer', bytes, total: image.size });
}

/** The image was not owed any more: recorded by another worker first, or given up; or an admin deleted it meanwhile. */
async function settleUnwanted(
  deps: TransferDeps,
  imageId: string,
  receipt: Receipt,
  signal: AbortSignal,
): Promise<void> {
  const image = await Image.query(deps.db).findById(imageId);
  // A failed image keeps its file for the admin who tries again.
  if (!image || !isStaged(image.status)) await forgetStaged(deps, imageId);
  if (image && isReceived(image.status)) return;
  // Nobody would know of what the storage has now.
  await deps.storage.remove(receipt.key, signal);
  deps.log.info({ imageId, key: receipt.key }, 'image deleted during its transfer: taken back from the storage');
}

/** Removes the file of an image that needs it no more, as an earlier run recorded without hearing of it. */
export async function forgetEnded(deps: Omit<TransferDeps, 'takeTurn'>, imageId: string): Promise<void> {
  const image = await Image.query(deps.db).findById(imageId);
  // Without a row it may be an image whose receipt could not be committed yet.
  if (image && !isStaged(image.status)) await forgetStaged(deps, imageId);
}

function logStored(log: Logger, { image, ticket }: { image: Image; ticket: Ticket }): void {
  log.info({ imageId: image.id, ticketId: ticket.id, bytes: image.size, url: image.url }, 'image stored');
  if (ticket.status === 'completed') log.info({ ticketId: ticket.id, images: ticket.expected }, 'ticket completed');
}

/** The image needs no transfer any more: stored by an earlier run that did not get to its end, cancelled, or deleted. */
async function settleEnded(deps: TransferDeps, claim: Claim): Promise<TransferEnd> {
  const image = await Image.query(deps.db).findById(claim.data.imageId);
  await deps.boss.complete(claim.name, claim);
  // A failed image keeps its file for the admin who tries again, and one that an admin just put back needs it.
  if (!image || !isStaged(image.status)) await forgetStaged(deps, claim.data.imageId);
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

/** Ends a transfer without success: the image is `rejected` when the storage refuses it, else `failed` with its file kept. */
async function giveUp(
  deps: TransferDeps,
  claim: Claim,
  image: OwedImage,
  failure: HoplaError,
  attempts: number,
): Promise<TransferEnd> {
  const status = failure.code === 'storage-refused' ? 'rejected' : 'failed';
  const change = await deps.db.transaction(async (trx) => {
    const moved = await moveImage(trx, image.id, owedStatuses, status, { attempts, ...errorColumns(failure) });
    await insistOnClaim(deps.boss.complete(claim.name, claim, null, { db: inside(trx) }));
    return moved;
  });
  // Cancelled meanwhile, and a file that is gone then is as it should be.
  if (!change) return { state: 'done' };
  const about = { ...aboutFailure(image, failure), attempts };
  if (status === 'rejected') {
    deps.log.warn(about, 'the storage refuses this image for good');
    await forgetStaged(deps, image.id);
  } else if (failure.code === 'staged-file-lost') {
    deps.log.error(about, 'ALARM: the staged file of a received image is gone, or was changed');
  } else {
    deps.log.error(about, 'gave up on an image; an admin may retry it');
  }
  return { state: 'done' };
}

function aboutFailure({ id, ticketId }: OwedImage, failure: HoplaError) {
  return { err: failure, imageId: id, ticketId, code: failure.code };
}

/** Puts a claimed job back into the queue, to be tried after `delayMs`, and its image back to `received`. */
export async function handBack(
  { db, boss }: Pick<TransferDeps, 'db' | 'boss'>,
  claim: Claim,
  delayMs: number,
  changes?: ImageChanges,
): Promise<void> {
  await db.transaction(async (trx) => {
    // Of one that was not noted as begun there may be nothing to change.
    await moveImage(trx, claim.data.imageId, changes ? owedStatuses : ['transferring'], 'received', changes);
    await insistOnClaim(boss.fail(claim.name, claim, null, { db: inside(trx) }));
    // In seconds from the database's now: our clock may be another.
    await boss.update(claim.name, undefined, { id: claim.id, startAfter: delayMs / 1000, db: inside(trx) });
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

function errorColumns({ code, message }: HoplaError): ImageChanges {
  return { error_code: code, error_message: message };
}

async function forgetStaged({ staging, log }: Pick<TransferDeps, 'staging' | 'log'>, imageId: string): Promise<void> {
  try {
    await staging.remove(imageId);
    staging.release(imageId);
  } catch (error) {
    log.error({ err: error, imageId }, 'a staged file could not be removed; recovery tries again');
  }
}
