import type { Database } from '../../database/connection.ts';
import { User } from '../../database/models.ts';
import { isId } from '../../model/ids.ts';
import { type Condition, contains, type Found, inOrder, type Position, walk } from './walk.ts';

export const userOrders = ['name', 'newest', 'oldest'] as const;
type UserOrder = (typeof userOrders)[number];
export const userStates = ['enabled', 'disabled', 'admin'] as const;

export type UserSearch = {
  state?: (typeof userStates)[number] | undefined;
  /** A user's id, or part of a name. */
  text?: string | undefined;
  order?: UserOrder | undefined;
  limit: number;
  after?: Position | undefined;
};

const byName = [{ sql: 'lower(username)', type: 'text' }] as const;
/** Ids begin with the time. */
const byTime = [{ sql: 'id', type: 'uuid' }] as const;
export const userKeys = { name: byName, newest: byTime, oldest: byTime };

const states: Record<(typeof userStates)[number], string> = {
  enabled: 'disabled_at IS NULL',
  disabled: 'disabled_at IS NOT NULL',
  admin: 'is_admin',
};

/** One page of users. */
export async function searchUsers(db: Database, search: UserSearch): Promise<Found<User>> {
  const { state, text, order = 'name' } = search;
  const where: Condition[] = [];
  const sieve: Condition[] = [];
  if (state) sieve.push({ sql: states[state], values: [] });
  if (text && isId(text)) where.push({ sql: 'id = ?', values: [text] });
  else if (text) sieve.push(contains(['username'], text));
  const direction = order === 'newest' ? 'desc' : 'asc';
  const way = { table: 'users', keys: userKeys[order], order: direction, where, sieve } as const;
  const { ids, next } = await walk(db, way, search);
  return { items: inOrder(ids, await User.query(db).whereIn('id', ids)), next };
}
