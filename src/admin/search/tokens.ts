import type { Database } from '../../database/connection.ts';
import { isId } from '../../model/ids.ts';
import { type OwnedToken, ownedTokens } from '../operations/tokens.ts';
import { type Condition, contains, type Found, inOrder, type Position, walk } from './walk.ts';

/** `valid` says nothing of the user, who may be disabled. */
export const tokenStates = ['valid', 'revoked', 'expired'] as const;

export type TokenSearch = {
  kind?: 'user' | 'upload' | undefined;
  state?: (typeof tokenStates)[number] | undefined;
  userId?: string | undefined;
  /** The id of a token or of a ticket, or part of a label. */
  text?: string | undefined;
  order?: (typeof tokenOrders)[number] | undefined;
  limit: number;
  after?: Position | undefined;
};

export const tokenOrders = ['newest', 'oldest'] as const;
export const tokenKeys = [{ sql: 'id', type: 'uuid' }] as const;

const states: Record<(typeof tokenStates)[number], string> = {
  valid: 'revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())',
  revoked: 'revoked_at IS NOT NULL',
  expired: 'revoked_at IS NULL AND expires_at <= now()',
};

/** One page of tokens. */
export async function searchTokens(db: Database, search: TokenSearch): Promise<Found<OwnedToken>> {
  const { kind, state, userId, text, order = 'newest' } = search;
  const where: Condition[] = [];
  const sieve: Condition[] = [];
  if (kind) where.push({ sql: 'kind = ?', values: [kind] });
  if (userId) where.push({ sql: 'user_id = ?', values: [userId] });
  if (state) sieve.push({ sql: `(${states[state]})`, values: [] });
  if (text && isId(text)) where.push({ sql: '(id = ? OR ticket_id = ?)', values: [text, text] });
  else if (text) sieve.push(contains(['label'], text));
  const direction = order === 'newest' ? 'desc' : 'asc';
  const { ids, next } = await walk(db, { table: 'tokens', keys: tokenKeys, order: direction, where, sieve }, search);
  const rows = await ownedTokens(db).whereIn('tokens.id', ids).castTo<OwnedToken[]>();
  return { items: inOrder(ids, rows), next };
}
