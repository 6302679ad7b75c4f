import { readdir } from 'node:fs/promises';
import { fromKnex, PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { query, sql } from '../database/sql.ts';
import { isId } from '../model/ids.ts';
import type { Staging } from '../staging/local/folder.ts';
import { QUEUE_OPTIONS, QUEUE_POLICY, queueOf } from './job.ts';
import { assertQueueSchema, enqueueTransfers } from './pgboss-sql.ts';

/**
 * How often pg-boss looks for jobs whose worker went silent, in seconds. Each look is ten statements, and only a hanging
 * worker needs it: reclaim.ts finds the jobs of a process that ended, and finds them sooner.
 */
const MONITOR_SECONDS = 15;
/** By default pg-boss looks often for jobs that wait for other jobs. No job of hopla does. */
const FLOW_SECONDS = 3600;
/** Connections of pg-boss: for heartbeats, for jobs that fail, and for its monitor. */
const POOL_SIZE = 6;
const STATEMENT_TIMEOUT_MS = 10_000;
/** For pg, which by default waits for ever: the server cannot end a statement that never reaches it. */
const QUERY_TIMEOUT = { query_timeout: STATEMENT_TIMEOUT_MS + 2_000, keepAlive: true };

/** A pg-boss with hopla's settings, which the caller must start. */
export function createBoss(databaseUrl: string, log: Logger): PgBoss {
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'hopla queue',
    max: POOL_SIZE,
    // A crash may forget what pg-boss writes on its own connections, heartbeats for example: then the job comes back. hopla
    // commits whatever counts, or was shown to a client, in its own transactions, which do wait for the disk.
    options: `-c statement_timeout=${STATEMENT_TIMEOUT_MS} -c synchronous_commit=off`,
    connectionTimeoutMillis: 5_000,
    ...QUERY_TIMEOUT,
    schedule: false,
    superviseIntervalSeconds: MONITOR_SECONDS,
    monitorIntervalSeconds: MONITOR_SECONDS,
    flowIntervalSeconds: FLOW_SECONDS,
  });
  boss.on('error', (error) => log.warn({ err: error }, 'queue error'));
  boss.on('warning', (warning) => log.debug({ warning }, 'queue warning'));
  return boss;
}

/**
 * Starts pg-boss, which makes or migrates its tables, and creates the queue of a staging area.
 *
 * Throws when the tables have another version than hopla's SQL (`assertQueueSchema`), and when the staging area has images
 * but this database has no queue for the area: the images belong to another database, and recovery would sweep them away.
 */
export async function startQueue(
  db: Database,
  databaseUrl: string,
  staging: Pick<Staging, 'id' | 'directory'>,
  log: Logger,
): Promise<PgBoss> {
  const boss = createBoss(databaseUrl, log);
  await boss.start();
  try {
    await assertQueueSchema(db);
    const name = queueOf(staging.id);
    if (await boss.getQueue(name)) await boss.updateQueue(name, QUEUE_OPTIONS);
    else {
      await assertEmpty(staging.directory);
      await boss.createQueue(name, { policy: QUEUE_POLICY, ...QUEUE_OPTIONS });
    }
    return boss;
  } catch (error) {
    await boss.stop({ graceful: false });
    throw error;
  }
}

async function assertEmpty(directory: string): Promise<void> {
  const images = (await readdir(directory)).filter(isId).length;
  if (images === 0) return;
  throw new Error(
    `The staging folder ${directory} holds images that this database does not know (${images}). Start with the DATABASE_URL that they ` +
      'belong to, or with another STAGING_DIR; only delete them if nobody waits for them.',
  );
}

/** Queues an image again whose job has ended. The old job has the same id, and would keep the new job out. */
export async function enqueueAgain(
  boss: PgBoss,
  trx: Database,
  { id, staging }: Pick<Image, 'id' | 'staging'>,
): Promise<void> {
  await boss.deleteJob(queueOf(staging), id, { db: fromKnex(trx) });
  await query(trx, enqueueTransfers(sql`(SELECT id, staging FROM images WHERE id = ${id}) AS images`));
}
