/*
 * All SQL on the tables of pg-boss. hopla writes `pgboss.job` itself where a job must be queued, claimed or ended by the
 * same statement as its image; pg-boss documents that table for this use. Each statement fits one version of the tables:
 * package.json pins pg-boss, and `assertQueueSchema` checks the database at start.
 */
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { prepared, query, type Statement, sql, text } from '../database/sql.ts';
import { owedStatuses } from '../model/states.ts';
import { type Claim, type OwedImage, QUEUE_OPTIONS, QUEUE_POLICY, queueOf } from './job.ts';

/** The version of pg-boss' tables for which these statements were written. */
export const QUEUE_SCHEMA = 46;

/** Throws unless the tables of pg-boss have the version for which these statements were written. */
export async function assertQueueSchema(db: Database): Promise<void> {
  const [row] = await query(db, sql<{ version: number }>`SELECT version FROM pgboss.version`);
  if (row?.version === QUEUE_SCHEMA) return;
  throw new Error(
    `The queue's tables in this database have version ${row?.version ?? 'unknown'} of the pg-boss schema, and this hopla needs ` +
      `version ${QUEUE_SCHEMA}. Start the hopla that brought the tables to their version, or a newer one.`,
  );
}

/**
 * SQL that queues the transfers of images, as a part of the statement that receives them. It inserts the same rows as
 * pg-boss' `insert` does for a `TransferJob`.
 *
 * @param images the rows behind FROM, with columns `id` and `staging`
 * @param claimed ids of the images whose jobs this process claims, as by a `fetch` right after the insert
 */
export function enqueueTransfers(images: Statement, claimed: readonly string[] = []): Statement {
  const {
    retryLimit,
    retryDelay,
    retryBackoff,
    expireInSeconds,
    deleteAfterSeconds,
    heartbeatSeconds,
    retentionSeconds,
  } = QUEUE_OPTIONS;
  return sql`
    INSERT INTO pgboss.job (id, name, data, policy, retry_limit, retry_delay, retry_backoff, expire_seconds,
                            deletion_seconds, heartbeat_seconds, keep_until, state, started_on, heartbeat_on)
    SELECT id, '${text(queueOf(''))}' || staging, jsonb_build_object('imageId', id), '${text(QUEUE_POLICY)}',
           ${text(`${retryLimit}, ${retryDelay}, ${retryBackoff}, ${expireInSeconds}, ${deleteAfterSeconds}, ${heartbeatSeconds}`)},
           now() + interval '${text(`${retentionSeconds}`)} s', claim.state::pgboss.job_state, claim.since, claim.since
    FROM ${images}, LATERAL (
      SELECT CASE WHEN claimed THEN 'active' ELSE 'created' END AS state, CASE WHEN claimed THEN now() END AS since
      FROM (SELECT array_position(${claimed}::uuid[], id) IS NOT NULL AS claimed) AS known
    ) AS claim
    ON CONFLICT DO NOTHING`;
}

/**
 * Claims at most `most` jobs of a queue, as pg-boss' `fetch` does: the jobs that waited longest come first. Resolves to the
 * jobs with their images; the image is null when it is owed no transfer.
 */
export async function fetchTransfers(
  db: Database,
  queue: string,
  most: number,
): Promise<(Pick<Claim, 'id' | 'retryCount'> & { image: OwedImage | null })[]> {
  const rows = await prepared(
    db,
    sql<OwedImage & { retryCount: number }>`
    WITH next AS (
      SELECT ctid, id FROM pgboss.job WHERE name = ${queue} AND state < 'active' AND NOT blocked AND start_after <= now()
      ORDER BY priority DESC, created_on LIMIT ${most} FOR UPDATE SKIP LOCKED
    ), claimed AS (
      UPDATE pgboss.job SET state = 'active', started_on = now(), heartbeat_on = now(),
        retry_count = CASE WHEN started_on IS NULL THEN retry_count ELSE retry_count + 1 END
      -- By the positions of the rows that are locked above. By name and id the planner may take an index over names and read
      -- all jobs, as long as the statistics do not know that thousands wait.
      WHERE ctid = ANY (ARRAY(SELECT ctid FROM next)) AND array_position(ARRAY(SELECT id FROM next), id) IS NOT NULL
      RETURNING id, retry_count
    ), owed AS (
      SELECT id, ticket_id, size, filename, content_type, sha256, attempts FROM images
      -- By id alone, for the reasons in moveImages.
      WHERE id = ANY (ARRAY(SELECT id FROM claimed)) AND array_position(${owedStatuses}::text[], status) IS NOT NULL
    )
    SELECT claimed.id, retry_count AS "retryCount", ticket_id AS "ticketId", size, filename,
           content_type AS "contentType", sha256, attempts
    FROM claimed LEFT JOIN owed USING (id) ORDER BY claimed.id`,
  );
  return rows.map(({ retryCount, ...image }) => ({ id: image.id, retryCount, image: image.ticketId ? image : null }));
}

/**
 * SQL that ends the jobs of transfers, as a part of the statement that records the receipts. It deletes the jobs, since the
 * images say how the transfers ended. As pg-boss' `complete` it leaves a job alone that another worker has claimed since.
 */
export function endTransfers(claims: Claim[]): Statement {
  return sql`
    DELETE FROM pgboss.job WHERE name = ${claims[0]?.name} AND id = ANY (${claims.map(({ id }) => id)}::uuid[])
      AND state = 'active' AND id || ':' || retry_count = ANY (${claims.map(({ id, retryCount }) => `${id}:${retryCount}`)}::text[])`;
}

/** The time of the database, by which heartbeats are written, as the text that `giveBackTransfers` takes. */
export async function readQueueClock(db: Database): Promise<string> {
  const [row] = await query(db, sql<{ now: string }>`SELECT clock_timestamp()::text AS now`);
  return row?.now ?? '';
}

/**
 * Puts active jobs of a staging area back into its queue: all of them, or with `since` those without a heartbeat since that
 * time. Resolves to their number.
 */
export async function giveBackTransfers(db: Database, stagingId: string, since: string | null): Promise<number> {
  const given = await query(
    db,
    sql`UPDATE pgboss.job SET state = 'retry', start_after = now(), heartbeat_on = NULL
        WHERE name = ${queueOf(stagingId)} AND state = 'active'
          AND (${since}::timestamptz IS NULL OR coalesce(heartbeat_on, started_on) < ${since}::timestamptz)
        RETURNING id`,
  );
  return given.length;
}

/** The images of a staging area that are owed a transfer and have no job that could bring it. */
export function findUnqueued(db: Database, stagingId: string): Promise<Pick<Image, 'id' | 'staging'>[]> {
  return query(
    db,
    sql`SELECT images.id, images.staging FROM images
        WHERE images.staging = ${stagingId} AND images.status = ANY (${owedStatuses}) AND NOT EXISTS (
          SELECT FROM pgboss.job
          WHERE job.name = ${queueOf(stagingId)} AND job.id = images.id AND job.state < 'completed'
        )`,
  );
}

/** A job whose worker showed a sign of life in time; pg-boss calls any other active job's worker dead. */
const ALIVE = sql`state = 'active'
  AND coalesce(heartbeat_on, started_on) > now() - coalesce(heartbeat_seconds, 60) * interval '1 second'`;

/** Counts the transfers of a ticket that some live worker is sending. */
export async function countRunningTransfers(db: Database, ticketId: string): Promise<number> {
  if (!(await hasQueue(db))) return 0;
  const [row] = await query(
    db,
    sql<{ running: number }>`
    SELECT count(*)::int AS running
    FROM images JOIN pgboss.job ON job.id = images.id AND job.name = ${queueOf('')} || images.staging
    WHERE images.ticket_id = ${ticketId} AND ${ALIVE}`,
  );
  return row?.running ?? 0;
}

/**
 * Deletes the jobs of images that have not ended: with `running` those of live workers too. Ended jobs stay for pg-boss,
 * which counts them.
 */
export async function deleteTransfers(
  db: Database,
  images: Pick<Image, 'id' | 'staging'>[],
  { running }: { running: boolean },
): Promise<void> {
  if (images.length === 0 || !(await hasQueue(db))) return;
  const queues = [...new Set(images.map(({ staging }) => queueOf(staging)))];
  await query(
    db,
    sql`DELETE FROM pgboss.job
        WHERE name = ANY (${queues}::text[]) AND id = ANY (${images.map(({ id }) => id)}::uuid[])
          AND state < 'completed' ${running ? sql`` : sql`AND NOT (${ALIVE})`}`,
  );
}

/** False for a database that no gateway has ever used. */
async function hasQueue(db: Database): Promise<boolean> {
  const [row] = await query(db, sql<{ found: boolean }>`SELECT to_regclass('pgboss.job') IS NOT NULL AS found`);
  return row?.found ?? false;
}
