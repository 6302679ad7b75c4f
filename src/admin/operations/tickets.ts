import type { Database } from '../../database/connection.ts';
import { type Image, Ticket, type User } from '../../database/models.ts';
import { expireTicket } from '../../ledger/expire.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { encodeCursor, type TicketQuery } from '../../tickets/list.ts';
import { imagesOf } from '../../tickets/show.ts';
import { type OwnedTicket, searchTickets } from '../search/tickets.ts';
import { type Actor, recordChange, ticketRecord } from './audit.ts';
import { getTicket, getUser, noTicket } from './find.ts';
import type { Page } from './page.ts';

/** One page of tickets, newest first, of one user or of all. Throws `not-found`. */
export async function listAllTickets(
  db: Database,
  query: TicketQuery & { username?: string },
): Promise<Page<OwnedTicket>> {
  const { username, status, createdFrom, createdTo, cursor, limit } = query;
  const user = username === undefined ? null : await getUser(db, username);
  const { items, next } = await searchTickets(db, {
    limit,
    status,
    userId: user?.id,
    createdFrom: createdFrom && new Date(createdFrom.from),
    createdTo: createdTo && new Date(createdTo.to),
    after: cursor && [cursor.createdAt.toISOString(), cursor.id],
  });
  const last = items.at(-1);
  return { items, nextCursor: next && last ? encodeCursor(last.ticket) : null };
}

export type TicketDetail = { ticket: Ticket; owner: User; images: Image[] };

/** A ticket with its owner and images. Throws `ticket-not-found`. */
export async function showTicket(db: Database, ticketId: string): Promise<TicketDetail> {
  const { ticket, owner } = await getTicket(db, ticketId);
  return { ticket, owner, images: await imagesOf(db, ticketId) };
}

/**
 * Closes a ticket before its time. Uploads that were still coming in end, those of this staging area with their files;
 * what was received goes on to the storage. `changed` is false for a ticket that takes nothing any more.
 */
export async function closeTicket(
  db: Database,
  by: Actor,
  ticketId: string,
  staging: Staging | null,
): Promise<{ ticket: Ticket; ended: Image[]; changed: boolean }> {
  await getTicket(db, ticketId);
  const closed = await db.transaction(async (trx) => {
    const before = await Ticket.query(trx).findById(ticketId).forUpdate();
    if (!before) throw noTicket(ticketId);
    const ended = await expireTicket(trx, ticketId);
    const { ticket } = await getTicket(trx, ticketId);
    const changed = ticket.expired && !before.expired;
    if (changed) {
      const after = { ...ticketRecord(ticket), endedUploads: ended.length };
      await recordChange(trx, by, { action: 'ticket.expire', target: ticketId, before: ticketRecord(before), after });
    }
    return { ticket, ended, changed };
  });
  for (const image of closed.ended) if (image.staging === staging?.id) await staging.remove(image.id);
  return closed;
}
