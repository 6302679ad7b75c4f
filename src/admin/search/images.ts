import type { Database } from '../../database/connection.ts';
import { Image, type Ticket, type User } from '../../database/models.ts';
import { isId } from '../../model/ids.ts';
import type { ImageStatus } from '../../model/states.ts';
import { type Condition, contains, type Found, inOrder, type Position, type Walk, walk } from './walk.ts';

export type OwnedImage = Image & Pick<User, 'username'> & Pick<Ticket, 'userId'>;

export const imageOrders = ['newest', 'oldest'] as const;

export type ImageSearch = {
  status?: ImageStatus | undefined;
  ticketId?: string | undefined;
  userId?: string | undefined;
  createdFrom?: Date | undefined;
  createdTo?: Date | undefined;
  /** An image's id, or part of a file name, slot, hash or error. */
  text?: string | undefined;
  order?: (typeof imageOrders)[number] | undefined;
  limit: number;
  after?: Position | undefined;
};

export const imageKeys = [{ sql: 'id', type: 'uuid' }] as const;

/** One page of images of all tickets or of one. */
export async function searchImages(db: Database, search: ImageSearch): Promise<Found<OwnedImage>> {
  const { ids, next } = await walk(db, wayOf(search), search);
  return { items: inOrder(ids, await ownedImages(db, ids)), next };
}

/** Images with their owners, in no order. */
export async function ownedImages(db: Database, ids: readonly string[]): Promise<OwnedImage[]> {
  return Image.query(db)
    .whereIn('images.id', [...ids])
    .join('tickets', 'tickets.id', 'images.ticket_id')
    .join('users', 'users.id', 'tickets.user_id')
    .select('images.*', 'tickets.user_id', 'users.username')
    .castTo<OwnedImage[]>();
}

/** The clock that an id was made by, and the database's, which dated the row, differ by less than this. */
const CLOCKS_MS = 15 * 60_000;

function wayOf({ status, ticketId, userId, createdFrom, createdTo, text, order = 'newest' }: ImageSearch): Walk {
  const where: Condition[] = [];
  const sieve: Condition[] = [];
  if (ticketId) where.push({ sql: 'ticket_id = ?', values: [ticketId] });
  if (status) where.push({ sql: 'status = ?', values: [status] });
  // Ids begin with the time (RFC 9562 section 5.7), so the index on them finds days as well.
  if (createdFrom) {
    where.push({ sql: 'id >= ?', values: [firstIdOf(createdFrom.getTime() - CLOCKS_MS)] });
    where.push({ sql: 'created_at >= ?', values: [createdFrom] });
  }
  if (createdTo) {
    where.push({ sql: 'id < ?', values: [firstIdOf(createdTo.getTime() + CLOCKS_MS)] });
    where.push({ sql: 'created_at <= ?', values: [createdTo] });
  }
  if (userId) sieve.push({ sql: 'ticket_id IN (SELECT id FROM tickets WHERE user_id = ?)', values: [userId] });
  if (text && isId(text)) where.push({ sql: '(id = ? OR ticket_id = ?)', values: [text, text] });
  else if (text) sieve.push(contains(['filename', 'slot', 'sha256', 'error_code', 'error_message'], text));
  return { table: 'images', keys: imageKeys, order: order === 'newest' ? 'desc' : 'asc', where, sieve };
}

/** The least id that can have been made at this time. */
export function firstIdOf(ms: number): string {
  const hex = Math.max(ms, 0).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-0000-0000-000000000000`;
}
