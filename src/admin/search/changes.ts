import type { Database } from '../../database/connection.ts';
import { isId } from '../../model/ids.ts';
import type { AuditAction } from '../operations/audit.ts';
import { type Condition, contains, type Found, inOrder, type Position, walk } from './walk.ts';

/** One line of the audit log. */
export type LoggedChange = {
  id: string;
  at: Date;
  actor: string;
  /** Null for the command line. */
  actorUserId: string | null;
  action: AuditAction;
  targetKind: 'ticket' | 'image' | 'user' | 'token';
  targetId: string;
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
};

export type ChangeSearch = {
  actor?: string | undefined;
  action?: AuditAction | undefined;
  from?: Date | undefined;
  to?: Date | undefined;
  /** The id of a target, or part of what was before or after. */
  text?: string | undefined;
  order?: (typeof changeOrders)[number] | undefined;
  limit: number;
  after?: Position | undefined;
};

export const changeOrders = ['newest', 'oldest'] as const;
export const changeKeys = [{ sql: 'id', type: 'bigint' }] as const;

/** One page of the audit log. */
export async function searchChanges(db: Database, search: ChangeSearch): Promise<Found<LoggedChange>> {
  const { actor, action, from, to, text, order = 'newest' } = search;
  const where: Condition[] = [];
  const sieve: Condition[] = [];
  if (actor) where.push({ sql: 'lower(actor) = lower(?)', values: [actor] });
  if (action) where.push({ sql: 'action = ?', values: [action] });
  if (text && isId(text)) where.push({ sql: 'target_id = ?', values: [text] });
  else if (text) sieve.push(contains(['before::text', 'after::text'], text));
  if (from) sieve.push({ sql: 'at >= ?', values: [from] });
  if (to) sieve.push({ sql: 'at <= ?', values: [to] });
  const direction = order === 'newest' ? 'desc' : 'asc';
  const way = { table: 'audit_log', keys: changeKeys, order: direction, where, sieve } as const;
  const { ids, next } = await walk(db, way, search);
  const rows = await db('audit_log')
    .whereIn('id', ids)
    .select({
      ...{ id: 'id', at: 'at', actor: 'actor', actorUserId: 'actor_user_id', action: 'action' },
      ...{ targetKind: 'target_kind', targetId: 'target_id', before: 'before', after: 'after' },
    });
  return {
    items: inOrder(ids.map(String), rows.map((row) => ({ ...row, id: String(row.id) })) as LoggedChange[]),
    next,
  };
}
