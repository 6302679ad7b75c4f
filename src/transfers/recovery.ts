import { opendir } from 'node:fs/promises';
import type { PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image, type Ticket } from '../database/models.ts';
import { query, sql } from '../database/sql.ts';
import { sweepTokens } from '../identity/sweep.ts';
import { expireTickets } from '../ledger/expire.ts';
import { isId } from '../model/ids.ts';
import { type ImageStatus, isStaged, stagedStatuses } from '../model/states.ts';
import type { Staging } from '../staging/local/folder.ts';
import type { Quarantine } from '../staging/local/quarantine.ts';
import { findUnqueued } from './pgboss-sql.ts';
import { enqueueAgain } from './queue.ts';

export type RecoveryDeps = {
  db: Database;
  boss: PgBoss;
  staging: Staging;
  /** Whether another process receives this upload: it looks after it then. */
  isElsewhere: (image: Image) => Promise<boolean>;
  /** Whether some process may be about to make the row of a staged file that has none. */
  isComing: (imageId: string, signal: AbortSignal) => Promise<boolean>;
  /** Where files go that no image is known for. */
  quarantine: Quarantine;
  /** Commits an upload whose bytes are all here; throws when it cannot. */
  commitUpload: (image: Image) => Promise<void>;
  discardStaged: (image: Image) => Promise<void>;
  log: Logger;
};

export type Recovery = { close(): Promise<void> };

const EXPIRY_MS = 5_000;
const RECOVERY_MS = 60_000;
const BATCH = 500;
/** How long other processes may take, for each batch, to say which files they are about to commit. */
const ASK_MS = 5_000;

/*
 * Where a process can die (the names are those of failpoints.ts, at each of which a test kills it), and who puts it right:
 *
 *   place.claimed        the row is an upload without a byte: the client goes on, or the ticket's expiry ends it
 *   upload.written       the file's size is the offset: likewise; with its last byte `commitComplete`, and every HEAD
 *   upload.synced        `commitComplete`, and every HEAD; one that came whole with its creation has no row yet: its client
 *                        sends it again, `setAside`
 *   upload.committed     HEAD answers from the database, the transfer's job is there; were it not, `queueOwed`
 *   upload.answered      likewise
 *   transfer.fetched     the job comes back (reclaim.ts, or pg-boss after a missed heartbeat)
 *   transfer.begun       likewise
 *   transfer.sending     likewise
 *   transfer.answered    likewise; the repeat adopts what the storage has
 *   transfer.recorded    `sweepFiles`, as after a rejection, a cancel and an expiry
 *   transfer.forgotten   nothing is left to do
 *
 * The same where others are left that share the staging area. An upload is then continued by whichever of them its client
 * comes to (uploads/holders.ts), and a transfer by one that noticed the end (reclaim.ts). Recovery runs in each of them, and
 * leaves alone what another is just receiving.
 */

/** Recovers once, then keeps looking: for what has expired every five seconds, for everything else every minute. */
export async function startRecovery(deps: RecoveryDeps): Promise<Recovery> {
  await recover(deps);
  await sweepTokens(deps.db);
  const expiring = repeat(EXPIRY_MS, () => endExpired(deps), deps.log);
  const recovering = repeat(RECOVERY_MS, () => recover(deps), deps.log);
  const sweeping = repeat(RECOVERY_MS, () => sweepTokens(deps.db), deps.log);
  return {
    async close() {
      await Promise.all([expiring.close(), recovering.close(), sweeping.close()]);
    },
  };
}

/** Each step can be repeated, interrupted, and run by two processes at once. */
async function recover(deps: RecoveryDeps): Promise<void> {
  await trackWaiting(deps);
  await commitComplete(deps);
  await queueOwed(deps);
  await sweepFiles(deps);
}

/** Runs `task` again and again, `ms` after it ended; what it throws is logged and tried again. */
function repeat(ms: number, task: () => Promise<void>, log: Logger): { close(): Promise<void> } {
  let timer: NodeJS.Timeout;
  let running = Promise.resolve();
  let failing = false;
  const attempt = async () => {
    try {
      await task();
      failing = false;
    } catch (error) {
      // Said once: a database that is away for an hour is one piece of news.
      if (!failing) log.warn({ err: error }, 'recovery did not get through; it is repeated until it does');
      failing = true;
    }
  };
  const schedule = () => {
    timer = setTimeout(() => {
      running = attempt().finally(schedule);
    }, ms);
  };
  schedule();
  return {
    async close() {
      clearTimeout(timer);
      await running;
      clearTimeout(timer);
    },
  };
}

async function endExpired({ db, discardStaged, log }: RecoveryDeps): Promise<void> {
  const ended = await expireTickets(db);
  for (const image of ended) {
    log.info({ imageId: image.id, ticketId: image.ticketId }, 'upload expired');
    await discardStaged(image);
  }
}

/** Makes the count of what waits here what the database knows, whatever announcements were missed. */
async function trackWaiting({ db, staging }: RecoveryDeps): Promise<void> {
  const waiting = Image.query(db)
    .joinRelated('ticket')
    .select('images.id', 'images.status', 'images.size', 'images.ticket_id', 'ticket.user_id')
    .where({ staging: staging.id })
    .whereIn('images.status', stagedStatuses)
    .castTo<(Image & Pick<Ticket, 'userId'>)[]>();
  for (const { id, status, size, ticketId, userId } of await waiting) {
    const owner = { userId, ticketId };
    if (status !== 'uploading') staging.track(id, size ?? 0, owner);
    else staging.trackUpload(id, { size, position: (await staging.sizeOf(id)) ?? 0 }, owner);
  }
  // Last, as one of those above may have ended meanwhile. An id without a row is a creation that is just being made.
  const ended = await query(
    db,
    sql<Pick<Image, 'id'>>`SELECT id FROM images
                           WHERE id = ANY (${staging.reserved()}::uuid[]) AND status <> ALL (${stagedStatuses})`,
  );
  for (const { id } of ended) staging.release(id);
}

/** Uploads whose last byte is here: their client may never ask again. */
async function commitComplete({ db, staging, isElsewhere, commitUpload, log }: RecoveryDeps): Promise<void> {
  const uploading = await Image.query(db).where({ staging: staging.id, status: 'uploading' }).whereNotNull('size');
  for (const image of uploading) {
    if ((await staging.sizeOf(image.id)) !== image.size || (await isElsewhere(image))) continue;
    await commitUpload(image).catch((error) =>
      log.info({ err: error, imageId: image.id }, 'a complete upload was not committed'),
    );
  }
}

/** Images that are owed to the storage but have no job. */
async function queueOwed({ db, boss, staging, log }: RecoveryDeps): Promise<void> {
  for (const image of await findUnqueued(db, staging.id)) {
    log.warn({ imageId: image.id }, 'a received image had no transfer job; it has one now');
    await db.transaction((trx) => enqueueAgain(boss, trx, image));
  }
}

/** Files whose image is stored or ended go; those whose image is unknown, aside first. */
async function sweepFiles(deps: RecoveryDeps): Promise<void> {
  let names: string[] = [];
  for await (const entry of await opendir(deps.staging.directory)) {
    if (!isId(entry.name)) continue;
    names.push(entry.name);
    if (names.length === BATCH) {
      await sweepBatch(deps, names);
      names = [];
    }
  }
  await sweepBatch(deps, names);
  for (const imageId of await deps.quarantine.clear())
    deps.log.warn({ imageId }, 'a file was removed from quarantine: nobody came for it');
}

async function sweepBatch(deps: RecoveryDeps, ids: string[]): Promise<void> {
  const { db, staging, log } = deps;
  const statuses = await readStatuses(db, ids);
  for (const [id, status] of statuses) {
    if (isStaged(status)) continue;
    log.warn({ imageId: id, status }, 'a staged file that nobody waits for was removed');
    await staging.remove(id);
    staging.release(id);
  }
  await setAside(
    deps,
    ids.filter((id) => !statuses.has(id)),
  );
}

/** Puts files without a row into quarantine, unless they are about to get one. */
async function setAside({ db, staging, quarantine, isComing, log }: RecoveryDeps, ids: string[]): Promise<void> {
  const signal = AbortSignal.timeout(ASK_MS);
  const strays: string[] = [];
  for (const id of ids) if (!(await isComing(id, signal))) strays.push(id);
  // Who is not about to commit one may have done so since the database was asked.
  const statuses = await readStatuses(db, strays);
  for (const id of strays) {
    const bytes = statuses.has(id) ? null : await quarantine.take(id);
    if (bytes === null) continue;
    log.warn({ imageId: id, bytes }, 'a staged file of no known image is in quarantine');
    staging.release(id);
  }
}

async function readStatuses(db: Database, ids: string[]): Promise<Map<string, ImageStatus>> {
  if (ids.length === 0) return new Map();
  const images = await Image.query(db).select('id', 'status').whereIn('id', ids);
  return new Map(images.map(({ id, status }) => [id, status]));
}
