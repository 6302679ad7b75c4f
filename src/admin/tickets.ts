import type { Database } from '../database/connection.ts';
import { type Image, Ticket, type User } from '../database/models.ts';
import { expireTicket } from '../tickets/expire.ts';
import type { TicketQuery } from '../tickets/list.ts';
import { imagesOf } from '../tickets/show.ts';
import type { Staging } from '../uploads/staging.ts';
import { getTicket, getUser } from './find.ts';
import { type Page, toPage } from './page.ts';

export type OwnedTicket = { ticket: Ticket; username: string };

/**
 * One page of tickets, newest first, of one user or of all.
 *
 * The indexes begin with the user: so each user's newest are looked up by them, a page at most of each, and merged. That
 * costs as much as there are users, but never as much as there are tickets.
 */
export async function listAllTickets(
  db: Database,
  query: TicketQuery & { username?: string },
): Promise<Page<OwnedTicket>> {
  const user = query.username === undefined ? null : await getUser(db, query.username);
  const { status, createdFrom, createdTo, cursor, limit } = query;
  const conditions = [
    'tickets.user_id = users.id',
    status && 'tickets.status = wanted.status',
    createdFrom && 'created_at >= :from',
    createdTo && 'created_at <= :to',
    cursor && '(created_at, id) < (:cursorTime, :cursorId)',
  ];
  const { rows } = (await db.raw(
    `SELECT newest.*, users.username FROM users
     ${status ? 'CROSS JOIN unnest(CAST(:statuses AS text[])) AS wanted(status)' : ''}
     CROSS JOIN LATERAL (
       SELECT * FROM tickets WHERE ${conditions.filter(Boolean).join(' AND ')}
       ORDER BY created_at DESC, id DESC LIMIT :rows
     ) AS newest
     ${user ? 'WHERE users.id = :userId' : ''}
     ORDER BY newest.created_at DESC, newest.id DESC LIMIT :rows`,
    {
      rows: limit + 1,
      ...(user && { userId: user.id }),
      ...(status && { statuses: [...new Set(status)] }),
      ...(createdFrom && { from: new Date(createdFrom.from) }),
      ...(createdTo && { to: new Date(createdTo.to) }),
      ...(cursor && { cursorTime: cursor.createdAt, cursorId: cursor.id }),
    } as never,
  )) as { rows: (Record<string, unknown> & { username: string })[] };
  const owned = rows.map(({ username, ...row }) => ({ ticket: Ticket.fromDatabaseJson(row) as Ticket, username }));
  return toPage(owned, limit, ({ ticket }) => encodeCursor(ticket));
}

/** The form that the HTTP contract's cursor has, see tickets/list.ts. */
function encodeCursor({ createdAt, id }: Ticket): string {
  return Buffer.from(`${createdAt.getTime()}.${id}`).toString('base64url');
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
  ticketId: string,
  staging: Staging | null,
): Promise<{ ticket: Ticket; ended: Image[]; changed: boolean }> {
  const before = await getTicket(db, ticketId);
  const ended = await expireTicket(db, ticketId);
  for (const image of ended) if (image.staging === staging?.id) await staging.remove(image.id);
  const { ticket } = await getTicket(db, ticketId);
  return { ticket, ended, changed: ticket.expired && !before.ticket.expired };
}
