import { readdir } from 'node:fs/promises';
import { fromKnex, type Job, PgBoss } from 'pg-boss';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { prepared } from '../database/prepared.ts';
import type { Beside } from '../ledger/move-images.ts';
import { isId } from '../model/ids.ts';
import { owedStatuses } from '../model/states.ts';
import type { Staging } from '../staging/local/folder.ts';

/** What a job carries; its id is the image's id, so that queueing an image twice makes one job. */
export type TransferJob = { imageId: string };

/** One claim of a job. */
export type Claim = Pick<Job<TransferJob>, 'id' | 'name' | 'data' | 'retryCount'>;

/** What a worker has to know of an image to send it. */
export type OwedImage = Pick<Image, 'id' | 'ticketId' | 'size' | 'filename' | 'contentType' | 'sha256' | 'attempts'>;

/** Each staging area has its own queue: only who has the file can send it. */
export function queueOf(stagingId: string): string {
  return `transfer.${stagingId}`;
}

const DAY_SECONDS = 86_400;

/** The least that pg-boss takes. A worker shows a sign of life twice in that time. */
export const HEARTBEAT_SECONDS = 10;

const POLICY = 'standard';
const QUEUE = {
  // Workers hear of new images as everybody does (progress/hub.ts).
  notify: false,
  // The image's own attempts decide when to give up (see worker.ts); the queue never does.
  retryLimit: 1_000_000,
  retryDelay: 1,
  retryBackoff: false,
  // The longest one try may take. Its own deadline comes from the image's size and ends it long before.
  expireInSeconds: 3 * 3600,
  // pg-boss deletes jobs that waited for longer. A photo waits for as long as it takes.
  retentionSeconds: 3650 * DAY_SECONDS,
  deleteAfterSeconds: 3600,
  // A job whose worker is silent comes back after this, and the interval below.
  heartbeatSeconds: HEARTBEAT_SECONDS,
} as const;

/**
 * How often pg-boss looks for jobs whose worker went silent, in seconds. Each look is ten statements, and it is needed only
 * where one hangs: what a process leaves that ends is found sooner (reclaim.ts).
 */
const MONITOR_SECONDS = 15;
/** Jobs that wait for other jobs are looked for all the time by default; there are none here. */
const FLOW_SECONDS = 3600;
/** One for each worker that finishes a job, and some for looking after the queue. */
const POOL_SIZE = 6;
const STATEMENT_TIMEOUT_MS = 10_000;
/** Passed on to pg, whose default is to wait for ever; the server cannot time out what does not reach it. */
const QUERY_TIMEOUT = { query_timeout: STATEMENT_TIMEOUT_MS + 2_000, keepAlive: true };

/** A pg-boss with our settings, not started: it needs that before it can do anything. */
export function createBoss(databaseUrl: string, log: Logger): PgBoss {
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'hopla queue',
    max: POOL_SIZE,
    // What pg-boss does on its own connections (fetching, heartbeats) may be forgotten in a crash: the job comes back. What
    // counts, or what anybody was shown, is committed in our transactions, which do wait for the disk.
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
 * Starts pg-boss (its schema included) and makes the queue of a staging area. Rejects when the area holds images and this
 * database has never heard of it: what is unknown here would be swept away, and belongs to another database.
 */
export async function startQueue(
  databaseUrl: string,
  staging: Pick<Staging, 'id' | 'directory'>,
  log: Logger,
): Promise<PgBoss> {
  const boss = createBoss(databaseUrl, log);
  await boss.start();
  try {
    const name = queueOf(staging.id);
    if (await boss.getQueue(name)) await boss.updateQueue(name, QUEUE);
    else {
      await assertEmpty(staging.directory);
      await boss.createQueue(name, { policy: POLICY, ...QUEUE });
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

/** Lets pg-boss make its statements in the given transaction, prepared: they are as few as the calls we make. */
export function inside(trx: Database): ReturnType<typeof fromKnex> {
  return fromKnex({ raw: async (sql, bindings = []) => prepared(trx, sql, bindings) });
}

/**
 * SQL that queues the transfers of images, for the statement that receives them. It makes the rows that pg-boss's `insert`
 * would make of a `TransferJob`; pg-boss documents its table for that.
 *
 * @param images what stands behind FROM: rows with `id` and `staging`
 * @param claimed ids of those whose jobs are claimed as they are made, as by a `fetch` right after it
 */
export function enqueueTransfers(images: string, claimed: readonly string[] = []): Beside {
  const sql = `INSERT INTO pgboss.job (id, name, data, policy, retry_limit, retry_delay, retry_backoff, expire_seconds,
                                  deletion_seconds, heartbeat_seconds, keep_until, state, started_on, heartbeat_on)
          SELECT id, '${queueOf('')}' || staging, jsonb_build_object('imageId', id), '${POLICY}', ${QUEUE.retryLimit}, ${QUEUE.retryDelay},
                 ${QUEUE.retryBackoff}, ${QUEUE.expireInSeconds}, ${QUEUE.deleteAfterSeconds}, ${QUEUE.heartbeatSeconds},
                 now() + interval '${QUEUE.retentionSeconds} s', claim.state::pgboss.job_state, claim.since, claim.since
          FROM ${images}, LATERAL (
            SELECT CASE WHEN claimed THEN 'active' ELSE 'created' END AS state, CASE WHEN claimed THEN now() END AS since
            FROM (SELECT array_position(?::uuid[], id) IS NOT NULL AS claimed) AS known
          ) AS claim
          ON CONFLICT DO NOTHING`;
  return { sql, bindings: [claimed] };
}

/**
 * Claims jobs as pg-boss's `fetch` does it, so many at most, those first that wait for longest; with their images, null when
 * they are not owed.
 */
export async function fetchTransfers(
  db: Database,
  queue: string,
  most: number,
): Promise<(Pick<Claim, 'id' | 'retryCount'> & { image: OwedImage | null })[]> {
  const { rows } = (await prepared(
    db,
    `WITH next AS (
       SELECT ctid, id FROM pgboss.job WHERE name = ? AND state < 'active' AND NOT blocked AND start_after <= now()
       ORDER BY priority DESC, created_on LIMIT ? FOR UPDATE SKIP LOCKED
     ), claimed AS (
       UPDATE pgboss.job SET state = 'active', started_on = now(), heartbeat_on = now(),
         retry_count = CASE WHEN started_on IS NULL THEN retry_count ELSE retry_count + 1 END
       -- By where they are, as locked above: by name and id the planner may well take an index over names, as long as it has
       -- not heard that thousands wait, and read them all.
       WHERE ctid = ANY (ARRAY(SELECT ctid FROM next)) AND array_position(ARRAY(SELECT id FROM next), id) IS NOT NULL
       RETURNING id, retry_count
     ), owed AS (
       SELECT id, ticket_id, size, filename, content_type, sha256, attempts FROM images
       -- By ids and nothing else, for the reasons of moveImages.
       WHERE id = ANY (ARRAY(SELECT id FROM claimed)) AND array_position(?::text[], status) IS NOT NULL
     )
     SELECT claimed.id, retry_count AS "retryCount", ticket_id AS "ticketId", size, filename, content_type AS "contentType",
            sha256, attempts
     FROM claimed LEFT JOIN owed USING (id) ORDER BY claimed.id`,
    [queue, most, owedStatuses],
  )) as { rows: (OwedImage & { retryCount: number })[] };
  return rows.map(({ retryCount, ...image }) => ({ id: image.id, retryCount, image: image.ticketId ? image : null }));
}

/**
 * SQL that ends the jobs of transfers, for the statement that records what they achieved. They are gone then: the image says
 * all there is to say. As pg-boss's `complete` it leaves alone what another worker has claimed meanwhile.
 */
export function endTransfers(claims: Claim[]): Beside {
  return {
    sql: `DELETE FROM pgboss.job WHERE name = ? AND id = ANY (?::uuid[]) AND state = 'active'
          AND id || ':' || retry_count = ANY (?::text[])`,
    bindings: [claims[0]?.name, claims.map(({ id }) => id), claims.map(({ id, retryCount }) => `${id}:${retryCount}`)],
  };
}

/** Queues an image again whose job has ended: the old one would keep the new one out, their ids being the same. */
export async function enqueueAgain(
  boss: PgBoss,
  trx: Database,
  { id, staging }: Pick<Image, 'id' | 'staging'>,
): Promise<void> {
  await boss.deleteJob(queueOf(staging), id, { db: inside(trx) });
  const { sql, bindings } = enqueueTransfers('(SELECT id, staging FROM images WHERE id = ?) AS images');
  await trx.raw(sql, [id, ...bindings] as never);
}
