import type { Database } from '../../database/connection.ts';
import { Ticket, type User } from '../../database/models.ts';
import { isId } from '../../model/ids.ts';
import type { TicketStatus } from '../../model/states.ts';
import { type Condition, contains, type Found, inOrder, type Position, type Walk, walk } from './walk.ts';

export type OwnedTicket = { ticket: Ticket; username: string };

/** `expiring` is what can still run out of time, what runs out next first. */
export const ticketOrders = ['newest', 'oldest', 'expiring'] as const;

export type TicketSearch = {
  userId?: string | undefined;
  status?: readonly TicketStatus[] | undefined;
  createdFrom?: Date | undefined;
  createdTo?: Date | undefined;
  /** A ticket's id, or part of a description or of metadata. */
  text?: string | undefined;
  order?: (typeof ticketOrders)[number] | undefined;
  limit: number;
  after?: Position | undefined;
};

const id = { sql: 'id', type: 'uuid' } as const;
export const ticketKeys = {
  newest: [{ sql: 'created_at', type: 'timestamptz' }, id],
  oldest: [{ sql: 'created_at', type: 'timestamptz' }, id],
  expiring: [{ sql: 'expires_at', type: 'timestamptz' }, id],
} as const;

/** One page of tickets of all users or of one. */
export async function searchTickets(db: Database, search: TicketSearch): Promise<Found<OwnedTicket>> {
  const { ids, next } = await walk(db, wayOf(search), search);
  const rows = await Ticket.query(db)
    .whereIn('tickets.id', ids)
    .join('users', 'users.id', 'tickets.user_id')
    .select('tickets.*', 'users.username')
    .castTo<(Ticket & Pick<User, 'username'>)[]>();
  return { items: inOrder(ids, rows).map((ticket) => ({ ticket, username: ticket.username })), next };
}

function wayOf({ userId, status, createdFrom, createdTo, text, order = 'newest' }: TicketSearch): Walk {
  const where: Condition[] = [];
  const sieve: Condition[] = [];
  const expiring = order === 'expiring';
  // Along the expiry no index knows the rest.
  const rest = expiring ? sieve : where;
  if (expiring) where.push({ sql: "NOT expired AND status IN ('pending', 'uploading')", values: [] });
  if (userId) rest.push({ sql: 'user_id = ?', values: [userId] });
  if (createdFrom) rest.push({ sql: 'created_at >= ?', values: [createdFrom] });
  if (createdTo) rest.push({ sql: 'created_at <= ?', values: [createdTo] });
  if (status && expiring) sieve.push({ sql: 'status = ANY (?)', values: [status] });
  if (text && isId(text)) where.push({ sql: 'id = ?', values: [text] });
  else if (text) sieve.push(contains(['description', 'metadata::text'], text));
  return {
    table: 'tickets',
    keys: ticketKeys[order],
    order: order === 'newest' ? 'desc' : 'asc',
    // As the indexes over all users' tickets have them, which are not for one user's: see their migration.
    nulls: userId || expiring ? undefined : order === 'newest' ? 'last' : 'first',
    where,
    oneOf: status && !expiring ? { column: 'status', values: status } : undefined,
    sieve,
  };
}
