import knex, { type Knex } from 'knex';
import pg from 'pg';
import { migrationSource } from './migration-source.ts';
import { createSilenceGuard } from './silence.ts';

/** bigint (oid 20) as a number: byte counts stay far below 2^53, and JSON has no other integer. */
const BIGINT_OID = 20;
/** `type Row` of knex.raw with pg. */
export type Database = Knex;

export const migrationSettings = {
  migrationSource,
  tableName: 'knex_migrations',
};

/** How long one statement and one wait for a connection may take, in milliseconds, before the request is told to come back. */
const STATEMENT_TIMEOUT_MS = 10_000;
const ACQUIRE_TIMEOUT_MS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Nothing here reads a whole table while it is large; while it is small, a plan that does would be kept by prepared
 * statements until the next ANALYZE, however the table grows meanwhile.
 */
const NO_SEQUENTIAL_SCANS = '-c enable_seqscan=off';

/** knex prints to the console, between the lines of our log, what it throws as well. */
const quiet: Knex.Logger = { warn() {}, error() {}, deprecate() {}, debug() {} };

/**
 * Connects a pool to Postgres. Nothing is opened before the first query.
 *
 * `query_timeout` ends a wait that the server itself cannot end (it is frozen, or the network is cut);
 * `statement_timeout` ends the statement on the server, so that an abandoned one holds no lock.
 */
export function connectDatabase(
  databaseUrl: string,
  options: { maxConnections?: number; applicationName?: string } = {},
): Database {
  const silence = createSilenceGuard();
  const db = knex({
    client: 'pg',
    connection: {
      connectionString: databaseUrl,
      application_name: options.applicationName ?? 'hopla',
      options: NO_SEQUENTIAL_SCANS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: STATEMENT_TIMEOUT_MS + 2_000,
      // Ours pause between statements for milliseconds. One whose client vanished must not hold its locks for longer.
      idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      types: {
        getTypeParser: (oid: number, format?: 'text' | 'binary') =>
          oid === BIGINT_OID
            ? Number
            : format === 'binary'
              ? pg.types.getTypeParser(oid, format)
              : pg.types.getTypeParser(oid),
      },
    } as Knex.PgConnectionConfig,
    pool: { min: 0, max: options.maxConnections ?? 10, ...silence.pool },
    acquireConnectionTimeout: ACQUIRE_TIMEOUT_MS,
    migrations: migrationSettings,
    log: quiet,
  });
  silence.watch(db);
  return db;
}

/** Brings the tables to the newest version. Safe to run from several processes at once: knex holds a lock meanwhile. */
export async function migrate(db: Database): Promise<string[]> {
  const [, applied] = (await db.migrate.latest()) as [number, string[]];
  return applied;
}

/** Takes back the newest batch of migrations. */
export async function rollback(db: Database): Promise<string[]> {
  const [, undone] = (await db.migrate.rollback()) as [number, string[]];
  return undone;
}
