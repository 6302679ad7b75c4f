import type { Database } from '../database/connection.ts';
import { Image, type Ticket } from '../database/models.ts';
import { liveStatuses } from '../database/states.ts';
import type { Caller } from '../identity/tokens.ts';
import { findTicketOf } from './access.ts';

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

/** A ticket and its images as they were at one moment. Throws 404 `ticket-not-found` like `findTicketOf`. */
export function readTicket(
  db: Database,
  caller: Caller,
  ticketId: string,
): Promise<{ ticket: Ticket; images: Image[] }> {
  return db.transaction(
    async (trx) => ({ ticket: await findTicketOf(trx, caller, ticketId), images: await imagesOf(trx, ticketId) }),
    { isolationLevel: 'repeatable read', readOnly: true },
  );
}
