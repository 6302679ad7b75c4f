import { hash } from 'node:crypto';
import type { Knex } from 'knex';
import type { Database } from './connection.ts';

/**
 * A statement that each connection has parsed and planned once: for our large ones that is most of their cost.
 *
 * For texts that are few and stay the same, since the server keeps each as long as the connection; and that name what they
 * return: one that returns `*` would fail for ever once a migration adds a column. Its plan is for any values and may be
 * from when the table was small, so it must be right whatever they are: the connection forbids sequential scans.
 */
export function prepared(db: Database, sql: string, bindings: readonly unknown[]): Knex.Raw {
  return db.raw(sql, bindings as never).options({ name: hash('sha1', sql) });
}
