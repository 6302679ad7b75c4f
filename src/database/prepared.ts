import { hash } from 'node:crypto';
import type pg from 'pg';
import type { Database } from './connection.ts';

/**
 * Runs a statement that each connection has parsed and planned once: for our large ones that is most of their cost.
 *
 * For texts that are few and stay the same, since the server keeps each as long as the connection; and that name what they
 * return: one that returns `*` would fail for ever once a migration adds a column. Its plan is for any values and may be
 * from when the table was small, so it must be right whatever they are: the connection forbids sequential scans.
 *
 * On a connection of knex's, but without knex, which goes through the text five times whenever it runs it: of a text of
 * some KiB, on the path of every image, that took a quarter of all the CPU for a small one.
 *
 * @param sql with a `?` for each of the bindings, and no other where `db` is not a transaction
 */
export async function prepared(db: Database, sql: string, bindings: readonly unknown[]): Promise<pg.QueryResult> {
  const name = hash('sha1', sql);
  // Knex knows whether a transaction is still open, and whose its connection is.
  if (db.isTransaction) return db.raw(sql, bindings as never).options({ name });
  let count = 0;
  const text = sql.replaceAll('?', () => `$${++count}`);
  const { client } = db;
  const connection: pg.Client & { __knexUid: string } = await client.acquireConnection();
  try {
    return await connection.query({ name, text, values: [...bindings] });
  } catch (error) {
    // As knex does, for who watches over its connections (silence.ts).
    client.emit('query-error', error, { __knexUid: connection.__knexUid });
    throw error;
  } finally {
    client.releaseConnection(connection);
  }
}
