import type { Logger } from 'pino';
import type { Image, Ticket } from '../database/models.ts';
import { isDatabaseOutage } from '../database/outage.ts';
import type { ReportProgress } from '../events/types.ts';
import type { Change } from '../ledger/count-and-announce.ts';
import { HoplaError } from '../model/errors.ts';
import type { Reach } from '../runtime/failpoints.ts';
import type { Receipt } from '../storage/port.ts';
import { type EndedDeps, forgetStaged, settleEnded, settleUnwanted } from './ended.ts';
import { type FailureDeps, recordFailure, type TransferEnd } from './failure.ts';
import type { Records } from './grouped-records.ts';
import type { Claim, OwedImage } from './job.ts';
import type { PrepareSending, Sending } from './prepare.ts';
import type { TakeTurn } from './send-slots.ts';

export type TransferDeps = FailureDeps &
  EndedDeps & {
    records: Records;
    prepare: PrepareSending;
    takeTurn: TakeTurn;
    reportProgress: ReportProgress;
    /** Told of each image once it is committed as stored. */
    countStored: (image: Image) => void;
    reach: Reach;
  };

/**
 * A transfer from the queue is noted as begun when it has taken so long, in milliseconds: one that is over before is seen by
 * nobody, and its note would take as much as all else that is recorded of it.
 */
const QUICK_MS = 250;
/** Who just sent an image hears at once that it goes on; which is noted when its first byte has left, not before. */
const FRESH_MS = 1;

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
  let stored: Change | null;
  try {
    stored = await deps.records.store(claim, receipt, others);
  } catch (cause) {
    if (isDatabaseOutage(cause)) throw cause;
    // The receipt has something that no column takes: sent again at once, the image would only be given the same.
    const failure = new HoplaError('storage-unavailable', 'The receipt of the storage cannot be recorded.', { cause });
    return recordFailure(deps, claim, image, failure);
  }
  await reach('transfer.recorded');
  if (!stored) {
    await settleUnwanted(deps, image, receipt, signal);
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

function logStored(log: Logger, { image, ticket }: { image: Image; ticket: Ticket }): void {
  log.info({ imageId: image.id, ticketId: ticket.id, bytes: image.size, url: image.url }, 'image stored');
  if (ticket.status === 'completed') log.info({ ticketId: ticket.id, images: ticket.expected }, 'ticket completed');
}
