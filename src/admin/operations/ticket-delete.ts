import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '../../database/connection.ts';
import { Image, Ticket } from '../../database/models.ts';
import { moveImage } from '../../ledger/move-images.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import type { Staging } from '../../staging/local/folder.ts';
import type { Storage } from '../../storage/port.ts';
import { countRunningTransfers, deleteTransfers } from '../../transfers/pgboss-sql.ts';
import { type Actor, recordChange, ticketRecord } from './audit.ts';
import { noTicket } from './find.ts';

export type DeleteDeps = {
  db: Database;
  by: Actor;
  /** The staging area of this machine; files in others go when their own gateway looks for files without an image. */
  staging: Staging | null;
  /** Null leaves stored images where they are. */
  storage: Storage | null;
  /** How long to wait for transfers that are under way, in milliseconds. Only with `storage`. */
  waitMs: number;
  /** Told once, when there is something to wait for. */
  onWaiting?: (transfers: number) => void;
};

export type DeletedTicket = {
  id: string;
  /** Images of every state whose rows went. */
  images: number;
  /** Images that were on their way and will not be stored. */
  cancelled: number;
  /** True when no image of it is left in the storage. */
  remote: boolean;
  /** Other staging areas that may still have files of it for a minute. */
  otherStaging: string[];
};

/** An image and the staging area that its file is in. */
type Placed = Pick<Image, 'id' | 'staging'>;

const POLL_MS = 100;
const BATCH = 200;
const REMOVALS_AT_ONCE = 8;
const STORAGE_TIMEOUT_MS = 60_000;

/**
 * Deletes a ticket with everything that hangs on it. A step that fails, or a crash between two, leaves a ticket that is
 * closed and can be deleted again; its rows go last, as they are all that knows of the rest.
 *
 * 1. Closed, in one transaction: nobody gets a place any more, and every image that is not stored is cancelled. Uploads
 *    under way hear 410, transfers that have not begun never will, and whoever watches sees the end.
 * 2. With `storage`: transfers that had begun are waited for, since a storage may keep what we stop sending it. Then
 *    every image that could have reached it is removed there, with or without a receipt.
 * 3. Staged files go, then rows and jobs in one transaction.
 *
 * Throws `ticket-not-found`; `service-unavailable` when transfers do not end in time or somebody opened the ticket again
 * meanwhile; and the storage's errors, those of reaching it before anything was changed.
 */
export async function deleteTicket(deps: DeleteDeps, ticketId: string): Promise<DeletedTicket> {
  const { db, by, storage } = deps;
  if (!isId(ticketId) || !(await Ticket.query(db).findById(ticketId))) throw noTicket(ticketId);
  await storage?.check(AbortSignal.timeout(STORAGE_TIMEOUT_MS));
  const cancelled = await closeForGood(db, by, ticketId, storage !== null);
  if (storage) await outlastTransfers(deps, ticketId);
  const images = await clearImages(deps, ticketId);
  await deleteRows(db, by, ticketId, { images, remote: storage !== null });
  const stagings = new Set(cancelled.map(({ staging }) => staging));
  stagings.delete(deps.staging?.id ?? '');
  return {
    id: ticketId,
    images,
    cancelled: cancelled.length,
    remote: storage !== null,
    otherStaging: [...stagings],
  };
}

/** Unlike an expiry it also closes a ticket that has all its images, so that a place freed later stays free. */
async function closeForGood(db: Database, by: Actor, ticketId: string, remote: boolean): Promise<Placed[]> {
  return db.transaction(async (trx) => {
    const before = await Ticket.query(trx).findById(ticketId).forUpdate();
    if (!before) throw noTicket(ticketId);
    await trx.raw(
      `WITH closed AS (
         UPDATE tickets SET expired = true, version = version + 1, updated_at = now() WHERE id = ? RETURNING *
       ) SELECT announce(to_jsonb(closed), NULL) FROM closed`,
      [ticketId],
    );
    const statuses = ['uploading', 'received', 'transferring', 'failed'] as const;
    const unstored = await Image.query(trx)
      .select('id', 'staging')
      .where({ ticket_id: ticketId })
      .whereIn('status', statuses);
    // One by one: each is counted and announced, so that every gateway gives back its staging room.
    for (const { id } of unstored) await moveImage(trx, id, statuses, 'cancelled');
    await deleteTransfers(trx, unstored, { running: false });
    const after = { closed: true, cancelledImages: unstored.length, deleteStoredImages: remote };
    await recordChange(trx, by, { action: 'ticket.close', target: ticketId, before: ticketRecord(before), after });
    return unstored;
  });
}

/**
 * A worker that had begun ends its job in the transaction that finds the image cancelled. One that died leaves it as it
 * is, or its queue gives it out again: neither sends anything.
 */
async function outlastTransfers({ db, waitMs, onWaiting }: DeleteDeps, ticketId: string): Promise<void> {
  const deadline = performance.now() + waitMs;
  for (let first = true; ; first = false) {
    const running = await countRunningTransfers(db, ticketId);
    if (running === 0) return;
    if (first) onWaiting?.(running);
    if (performance.now() >= deadline) {
      const detail = `The ticket is closed, but ${running} transfers are still under way; delete it again in a while.`;
      throw new HoplaError('service-unavailable', detail);
    }
    await delay(POLL_MS);
  }
}

/** Removes what an image left outside of the database, batch by batch. */
async function clearImages({ db, staging, storage }: DeleteDeps, ticketId: string): Promise<number> {
  let images = 0;
  for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
    const batch = await Image.query(db)
      .where({ ticket_id: ticketId })
      .where('id', '>', after)
      .orderBy('id')
      .limit(BATCH);
    const last = batch.at(-1);
    if (!last) return images;
    after = last.id;
    images += batch.length;
    // Only what was received can have been sent, and a try without a receipt may have arrived all the same.
    const sent = batch.filter((image) => image.receivedAt !== null);
    if (storage) await inGroups(sent, REMOVALS_AT_ONCE, (image) => removeStored(storage, image));
    for (const image of batch) if (image.staging === staging?.id) await staging.remove(image.id);
  }
}

async function removeStored(storage: Storage, { id, storageKey }: Image): Promise<void> {
  await storage.remove(storageKey ?? storage.keyOf(id), AbortSignal.timeout(STORAGE_TIMEOUT_MS));
}

async function inGroups<Item>(items: Item[], size: number, work: (item: Item) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += size) {
    await Promise.all(items.slice(start, start + size).map(work));
  }
}

async function deleteRows(
  db: Database,
  by: Actor,
  ticketId: string,
  gone: { images: number; remote: boolean },
): Promise<void> {
  await db.transaction(async (trx) => {
    const ticket = await Ticket.query(trx).findById(ticketId).forUpdate();
    // Somebody else deleted it at the same time.
    if (!ticket) return;
    if (!ticket.expired || ticket.claimed > ticket.stored)
      throw new HoplaError('service-unavailable', 'Somebody opened the ticket again meanwhile; delete it again.');
    const images = await Image.query(trx).select('id', 'staging').where({ ticket_id: ticketId });
    await deleteTransfers(trx, images, { running: true });
    await Ticket.query(trx).deleteById(ticketId);
    const after = { deletedImages: gone.images, storedImagesDeleted: gone.remote };
    await recordChange(trx, by, { action: 'ticket.delete', target: ticketId, before: ticketRecord(ticket), after });
  });
}
