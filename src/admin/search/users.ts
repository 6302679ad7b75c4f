import type { Database } from '../../database/connection.ts';
import { User } from '../../database/models.ts';
import { isId } from '../../tickets/access.ts';
import { type Condition, contains, type Found, inOrder, type Position, walk } from './walk.ts';

export const userStates = ['enabled', 'disabled', 'admin'] as const;

export type UserSearch = {
  state?: (typeof userStates)[number] | undefined;
  /** A user's id, or part of a name. */
  text?: string | undefined;
  limit: number;
  after?: Position | undefined;
};

export const userKeys = [{ sql: 'lower(username)', type: 'text' }] as const;

const states: Record<(typeof userStates)[number], string> = {
  enabled: 'disabled_at IS NULL',
  disabled: 'disabled_at IS NOT NULL',
  admin: 'is_admin',
};

/** One page of users, by name. */
export async function searchUsers(db: Database, search: UserSearch): Promise<Found<User>> {
  const { state, text } = search;
  const where: Condition[] = [];
  const sieve: Condition[] = [];
  if (state) sieve.push({ sql: states[state], values: [] });
  if (text && isId(text)) where.push({ sql: 'id = ?', values: [text] });
  else if (text) sieve.push(contains(['username'], text));
  const { ids, next } = await walk(db, { table: 'users', keys: userKeys, order: 'asc', where, sieve }, search);
  return { items: inOrder(ids, await User.query(db).whereIn('id', ids)), next };
}
