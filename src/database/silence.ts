import type { Knex } from 'knex';
import type pg from 'pg';

/** A connection as knex keeps it in its pool. */
type Connection = pg.Client & { __knexUid: string };

/**
 * Keeps a pool from handing out connections that went silent: behind a firewall that forgot them, or a host that is no
 * more, nothing ever arrives, not even a reset. pg gives up on such a query and keeps its connection, which makes every
 * later one wait behind it.
 *
 * The server ends a statement sooner than `query_timeout` does. So a query that ran into it met silence, and whatever
 * else was connected by then is not trusted any more either: trying one after the other would take as long for each.
 */
export function createSilenceGuard() {
  const connections = new Map<string, Connection>();
  const trusted = new WeakSet<Connection>();

  return {
    /** For the settings of the pool. */
    pool: {
      afterCreate(connection: Connection, done: (error: null, connection: Connection) => void) {
        connections.set(connection.__knexUid, connection);
        connection.once('end', () => connections.delete(connection.__knexUid));
        trusted.add(connection);
        done(null, connection);
      },
      validate: (connection: Connection) => trusted.has(connection),
    },
    watch(db: Knex): void {
      db.on('query-error', (error: Error, { __knexUid: uid }: { __knexUid: string }) => {
        // It has no code, and knex writes the statement before it.
        if (!error.message.endsWith('Query read timeout')) return;
        for (const connection of connections.values()) trusted.delete(connection);
        // Whoever used it would otherwise wait as long again, for a ROLLBACK. It answers nobody: no use to wait for its end.
        void connections
          .get(uid)
          ?.end()
          .catch(() => {});
      });
    },
  };
}
