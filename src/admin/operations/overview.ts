import type { Database } from '../../database/connection.ts';
import { firstIdOf } from '../search/images.ts';

/** How many images, and how many bytes, in one minute. */
export type Minute = { images: number; bytes: number };

export type StoreError = { code: string; images: number; message: string | null; latest: Date };

/** Failed images of one code, and the newest of them. */
export type Failure = StoreError & { some: { id: string; filename: string | null }[] };

export type Overview = {
  /** The last hour, the oldest minute first; the last one is still running. */
  received: Minute[];
  stored: Minute[];
  /** Images on their way to the storage. */
  queue: { waiting: number; sending: number; afterFailure: number; oldest: Date | null };
  uploading: number;
  /** Of the newest `FAILED_COUNTED` images that failed, whenever that was: they are kept until an admin acts. */
  failures: Failure[];
  /** What the storage said of images that it does not have, in the last day. */
  errors: StoreError[];
};

export const FAILED_COUNTED = 1_000;
const FAILED_NAMED = 5;
const MINUTES = 60;
/** Uploads may take as long as their ticket lives: a week. */
const LONGEST_UPLOAD_MS = 8 * 86_400_000;

/** How the place does. Costs as much as there is under way and came in the last hour, never as much as there is. */
export async function readOverview(db: Database): Promise<Overview> {
  const [received, stored, [queue], failures, errors] = await Promise.all([
    perMinute(db, 'received_at'),
    perMinute(db, 'stored_at'),
    ask<{ uploading: number; waiting: number; sending: number; after_failure: number; oldest: Date | null }>(
      db,
      `SELECT count(*) FILTER (WHERE status = 'uploading') AS uploading,
              count(*) FILTER (WHERE status = 'received') AS waiting,
              count(*) FILTER (WHERE status = 'transferring') AS sending,
              count(*) FILTER (WHERE status <> 'uploading' AND error_code IS NOT NULL) AS after_failure,
              min(received_at) AS oldest
       FROM images WHERE status IN ('uploading', 'received', 'transferring')`,
    ),
    ask<Failure>(
      db,
      `SELECT error_code AS code, count(*) AS images, max(updated_at) AS latest,
              (array_agg(error_message ORDER BY updated_at DESC))[1] AS message,
              to_jsonb((array_agg(jsonb_build_object('id', id, 'filename', filename) ORDER BY id DESC))[:${FAILED_NAMED}]) AS some
       FROM (SELECT * FROM images WHERE status = 'failed' ORDER BY id DESC LIMIT ${FAILED_COUNTED}) AS failed
       GROUP BY error_code ORDER BY latest DESC`,
    ),
    ask<StoreError>(
      db,
      `SELECT error_code AS code, count(*) AS images, max(updated_at) AS latest,
              (array_agg(error_message ORDER BY updated_at DESC))[1] AS message
       FROM images
       WHERE status IN ('received', 'transferring', 'failed') AND id > ?
         AND updated_at > now() - interval '1 day' AND (error_code LIKE 'storage-%' OR error_code = 'staged-file-lost')
       GROUP BY error_code ORDER BY latest DESC`,
      [firstIdOf(Date.now() - LONGEST_UPLOAD_MS)],
    ),
  ]);
  return {
    received,
    stored,
    queue: {
      waiting: queue?.waiting ?? 0,
      sending: queue?.sending ?? 0,
      afterFailure: queue?.after_failure ?? 0,
      oldest: queue?.oldest ?? null,
    },
    uploading: queue?.uploading ?? 0,
    failures,
    errors,
  };
}

async function perMinute(db: Database, column: 'received_at' | 'stored_at'): Promise<Minute[]> {
  const rows = await ask<Minute & { ago: number }>(
    db,
    `SELECT CAST(extract(epoch FROM date_trunc('minute', now()) - date_trunc('minute', ${column})) / 60 AS integer) AS ago,
            count(*) AS images, CAST(sum(size) AS bigint) AS bytes
     FROM images WHERE ${column} >= date_trunc('minute', now()) - interval '${MINUTES - 1} minutes' GROUP BY ago`,
  );
  const minutes = Array.from({ length: MINUTES }, () => ({ images: 0, bytes: 0 }));
  for (const { ago, images, bytes } of rows) {
    // A clock that is a little ahead counts as now.
    const minute = minutes[MINUTES - 1 - Math.max(ago, 0)];
    if (minute) Object.assign(minute, { images: minute.images + images, bytes: minute.bytes + bytes });
  }
  return minutes;
}

async function ask<Row>(db: Database, sql: string, values: readonly string[] = []): Promise<Row[]> {
  return ((await db.raw(sql, values)) as { rows: Row[] }).rows;
}
