import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { liveStatuses } from '../model/states.ts';

/** Ended uploads (rejected, cancelled, expired) that a detail shows: a ticket has at most 1000 live ones, but any number of these. */
const MAX_ENDED = 100;

/** The images of a ticket in the order they were begun: every live one, and the newest of those that gave their place back. */
export async function imagesOf(db: Database, ticketId: string): Promise<Image[]> {
  const [live, ended] = await Promise.all([
    Image.query(db).where({ ticket_id: ticketId }).whereIn('status', liveStatuses),
    Image.query(db)
      .where({ ticket_id: ticketId })
      .whereNotIn('status', liveStatuses)
      .orderBy('id', 'desc')
      .limit(MAX_ENDED),
  ]);
  return [...live, ...ended].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** A ticket and its images as they were at one moment: one statement sees one moment. Null when there is no such ticket. */
export async function readTicketById(
  db: Database,
  ticketId: string,
): Promise<{ ticket: Ticket; images: Image[] } | null> {
  const { rows } = (await db.raw(
    `SELECT to_jsonb(tickets) AS ticket, (
       SELECT coalesce(jsonb_agg(to_jsonb(shown) ORDER BY shown.id), '[]') FROM (
         SELECT * FROM images WHERE ticket_id = tickets.id AND status = ANY (?)
         UNION ALL
         (SELECT * FROM images WHERE ticket_id = tickets.id AND status <> ALL (?) ORDER BY id DESC LIMIT ?)
       ) AS shown
     ) AS images FROM tickets WHERE id = ?`,
    [liveStatuses, liveStatuses, MAX_ENDED, ticketId] as never,
  )) as { rows: { ticket: Record<string, unknown>; images: Record<string, unknown>[] }[] };
  const [row] = rows;
  return row
    ? { ticket: Ticket.fromJsonRow(row.ticket), images: row.images.map((image) => Image.fromJsonRow(image)) }
    : null;
}
