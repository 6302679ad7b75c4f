import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { moveImage } from './move-images.ts';

const BATCH = 100;

/**
 * Closes tickets whose time ran out before all images were received, and the uploads still running in them. What was
 * received goes on to the storage. Safe to run in several processes at once. Resolves to the images that ended.
 */
export async function expireTickets(db: Database): Promise<Image[]> {
  const ended: Image[] = [];
  for (;;) {
    const due = await Ticket.query(db)
      .select('id')
      .where('expires_at', '<=', db.fn.now())
      // Not all received, in the words of the index that finds them.
      .whereRaw("NOT expired AND status IN ('pending', 'uploading')")
      .orderBy('expires_at')
      .limit(BATCH);
    for (const { id } of due) ended.push(...(await expireTicket(db, id)));
    if (due.length < BATCH) return ended;
  }
}

/** Closes one ticket now, whatever its expiry says; harmless for one that is closed or complete. */
export async function expireTicket(db: Database, ticketId: string): Promise<Image[]> {
  return db.transaction(async (trx) => {
    const { rows } = (await trx.raw(
      `WITH closed AS (
         UPDATE tickets SET expired = true, version = version + 1, updated_at = now()
         WHERE id = ? AND NOT expired AND received < expected RETURNING *
       ) SELECT announce(to_jsonb(closed), NULL) FROM closed`,
      [ticketId],
    )) as { rows: unknown[] };
    if (rows.length === 0) return [];
    const uploading = await Image.query(trx).where({ ticket_id: ticketId, status: 'uploading' });
    const changes = [];
    for (const image of uploading) changes.push(await moveImage(trx, image.id, ['uploading'], 'expired'));
    return changes.flatMap((change) => (change ? [change.image] : []));
  });
}
