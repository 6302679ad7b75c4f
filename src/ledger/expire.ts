import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { query, sql } from '../database/sql.ts';
import { moveImage } from './move-images.ts';

const BATCH = 100;

/**
 * Closes tickets whose time ran out before all images were received, and ends the uploads that still run in them. Received
 * images still go to the store. Safe to run in several processes at once. Resolves to the images whose uploads ended.
 */
export async function expireTickets(db: Database): Promise<Image[]> {
  const ended: Image[] = [];
  for (;;) {
    const due = await Ticket.query(db)
      .select('id')
      .where('expires_at', '<=', db.fn.now())
      // The condition of the partial index over tickets that wait for images.
      .whereRaw("NOT expired AND status IN ('pending', 'uploading')")
      .orderBy('expires_at')
      .limit(BATCH);
    for (const { id } of due) ended.push(...(await expireTicket(db, id)));
    if (due.length < BATCH) return ended;
  }
}

/** Closes one ticket now, whatever its expiry says. A closed or complete ticket stays as it is. */
export async function expireTicket(db: Database, ticketId: string): Promise<Image[]> {
  return db.transaction(async (trx) => {
    const closed = await query(
      trx,
      sql`WITH closed AS (
            UPDATE tickets SET expired = true, version = version + 1, updated_at = now()
            WHERE id = ${ticketId} AND NOT expired AND received < expected RETURNING *
          ) SELECT announce(to_jsonb(closed), NULL) FROM closed`,
    );
    if (closed.length === 0) return [];
    const uploading = await Image.query(trx).where({ ticket_id: ticketId, status: 'uploading' });
    const changes = [];
    for (const image of uploading) changes.push(await moveImage(trx, image.id, ['uploading'], 'expired'));
    return changes.flatMap((change) => (change ? [change.image] : []));
  });
}
