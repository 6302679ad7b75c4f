import pg from 'pg';
import { encodeCursor } from '../src/tickets/list.ts';

/**
 * What lies in a seeded database: who has a tenth of all tickets, who has a few, who had many and left, and of the
 * first a ticket in the middle of all, with the cursor of a list that has come so far.
 */
export type Seeded = {
  heavyUser: string;
  lightUser: string;
  pastUser: string;
  ticketId: string;
  cursor: string;
  tickets: number;
  images: number;
};

/** This many of the newest tickets are of the last hour and in every state; all older ones are history, mostly completed. */
const RECENT = 1_000;
const TICKETS_PER_USER = 200;
const IMAGE_BYTES = 2_000_000;

/**
 * Fills an empty database with `tickets` tickets and five times as many images, and with nothing under way that a database
 * of `RECENT` tickets would not have: what differs is what lies behind.
 */
export async function seed(databaseUrl: string, tickets: number, stagingId: string): Promise<Seeded> {
  // Not the gateway's connection, which gives no statement so much time.
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return await seedWith(client, tickets, stagingId);
  } finally {
    await client.end();
  }
}

async function seedWith(client: pg.Client, tickets: number, stagingId: string): Promise<Seeded> {
  const indexes = await client.query<{ name: string; definition: string }>(
    `SELECT indexname AS name, indexdef AS definition FROM pg_indexes
     WHERE tablename IN ('tickets', 'images', 'tokens') AND NOT EXISTS (SELECT FROM pg_constraint WHERE conname = indexname)`,
  );
  await client.query('BEGIN');
  // The tables are emptied in the transaction that fills them, which with wal_level=minimal writes no log.
  await client.query("SET LOCAL maintenance_work_mem = '512MB'; SET LOCAL session_replication_role = replica");
  await client.query('TRUNCATE users, tickets, images, tokens CASCADE');
  for (const { name } of indexes.rows) await client.query(`DROP INDEX ${name}`);
  await fill(client, tickets, stagingId);
  for (const { definition } of indexes.rows) await client.query(definition);
  await client.query('COMMIT');
  await client.query('VACUUM ANALYZE users, tickets, images, tokens');
  const { rows } = await client.query(
    `SELECT heavy.id AS "heavyUser", light.id AS "lightUser", past.id AS "pastUser", middle.id AS "ticketId", middle.created_at,
            (SELECT count(*)::int FROM tickets) AS tickets, (SELECT count(*)::int FROM images) AS images
     FROM users AS heavy, users AS light, users AS past, LATERAL (
       SELECT id, created_at FROM tickets WHERE user_id = heavy.id AND status = 'completed' ORDER BY created_at OFFSET $1 LIMIT 1
     ) AS middle WHERE heavy.username = 'user-1' AND light.username = 'user-2' AND past.username = 'user-3'`,
    [Math.floor(tickets / 50)],
  );
  const { created_at: createdAt, ...found } = rows[0];
  return { ...found, cursor: encodeCursor({ createdAt, id: found.ticketId }) };
}

async function fill(client: pg.Client, tickets: number, stagingId: string): Promise<void> {
  const users = Math.max(60, Math.ceil(tickets / TICKETS_PER_USER));
  await client.query(
    `INSERT INTO users (id, username, created_at)
     SELECT uuidv7('-400 days'::interval + n * interval '1 second'), 'user-' || n, now() - interval '400 days' FROM generate_series(1, ${users}) AS n`,
  );
  // Every tenth ticket is user 1's, and until half a year ago as many were user 3's.
  await client.query(
    `CREATE TEMPORARY TABLE seeded ON COMMIT DROP AS
     SELECT n, owner.id AS user_id, 2 + n % 8 AS expected, uuidv7(age) AS id, now() + age AS created_at,
            CASE WHEN left_over < 0 THEN (ARRAY['completed', 'completed', 'completed', 'failed', 'uploading', 'uploading',
                                                 'processing', 'processing', 'pending', 'expired'])[1 + n / 10 % 10]
                 WHEN n % 97 < 3 THEN 'expired' WHEN n % 97 = 3 THEN 'empty' WHEN n % 997 = 4 THEN 'failed' ELSE 'completed' END AS kind
     FROM (SELECT n, ${tickets} - ${RECENT} - n AS left_over,
                  CASE WHEN n > ${tickets} - ${RECENT} THEN (n - ${tickets} - 1) * interval '3.5 seconds'
                       ELSE interval '-365 days' + n * (interval '364 days' / ${tickets}) END AS age
           FROM generate_series(1, ${tickets}) AS n) AS numbered
     JOIN (SELECT id, CAST(substr(username, 6) AS int) AS number FROM users) AS owner
       ON owner.number = CASE WHEN n % 10 = 0 THEN 1 WHEN n % 10 = 5 AND n < ${tickets} / 2 THEN 3 ELSE 2 + n % (${users} - 1) END`,
  );
  await client.query("UPDATE seeded SET expected = 3 WHERE kind = 'uploading' AND expected = 2");
  await client.query(
    `INSERT INTO tickets (id, user_id, expected, claimed, received, stored, failed, bytes_total, bytes_received, bytes_stored, expired,
                          version, description, metadata, created_at, updated_at, expires_at, completed_at)
     SELECT id, user_id, expected, claimed, received, stored, failed, claimed * ${IMAGE_BYTES}, received * ${IMAGE_BYTES}, stored * ${IMAGE_BYTES},
            kind IN ('expired', 'empty'), 1 + 3 * claimed, 'Claim no. ' || n, jsonb_build_object('order', n), created_at,
            created_at + interval '1 minute', created_at + interval '1 day',
            CASE WHEN kind = 'completed' THEN created_at + interval '1 minute' END
     FROM (SELECT *, CASE kind WHEN 'uploading' THEN 2 WHEN 'expired' THEN 1 WHEN 'pending' THEN 0 WHEN 'empty' THEN 0 ELSE expected END AS claimed,
                  CASE kind WHEN 'uploading' THEN 1 WHEN 'expired' THEN 1 WHEN 'pending' THEN 0 WHEN 'empty' THEN 0 ELSE expected END AS received,
                  CASE kind WHEN 'completed' THEN expected WHEN 'processing' THEN expected / 2 WHEN 'failed' THEN expected - 1
                            WHEN 'expired' THEN 1 ELSE 0 END AS stored,
                  CASE kind WHEN 'failed' THEN 1 ELSE 0 END AS failed FROM seeded) AS counted ORDER BY n`,
  );
  await client.query(
    `INSERT INTO tokens (id, user_id, kind, ticket_id, label, sha256, expires_at, created_at)
     SELECT uuidv7(created_at - now()), user_id, 'upload', id, 'upload', sha256(CAST(id::text AS bytea)), created_at + interval '2 days', created_at
     FROM seeded ORDER BY n`,
  );
  await client.query(
    `INSERT INTO images (id, ticket_id, status, slot, size, staging, filename, content_type, format, width, height, sha256, md5, attempts,
                         error_code, error_message, storage_provider, storage_key, storage_asset_id, storage_version, url,
                         created_at, updated_at, received_at, stored_at)
     SELECT id, ticket_id, status, 'photo-' || place, ${IMAGE_BYTES}, $1, 'IMG_' || n || '.jpg', 'image/jpeg', 'jpg', 4032, 3024,
            CASE WHEN here THEN md5(id::text) || md5(n::text) END, CASE WHEN here THEN md5(id::text) END, CASE WHEN status = 'failed' THEN 12 ELSE 0 END,
            CASE WHEN status = 'failed' THEN 'storage-unavailable' END, CASE WHEN status = 'failed' THEN 'no answer' END,
            CASE WHEN stored THEN 'cloudinary' END, CASE WHEN stored THEN 'hopla/' || id END, CASE WHEN stored THEN md5(n::text) END,
            CASE WHEN stored THEN '1764000000' END,
            CASE WHEN stored THEN 'https://res.cloudinary.com/local/image/upload/v1764000000/hopla/' || id || '.jpg' END,
            created_at, created_at, CASE WHEN here THEN created_at + interval '5 seconds' END, CASE WHEN stored THEN created_at + interval '9 seconds' END
     FROM (SELECT uuidv7(created_at - now() + place * interval '1 second') AS id, seeded.id AS ticket_id, n, place,
                  created_at + place * interval '1 second' AS created_at, status, status = 'stored' AS stored,
                  status IN ('received', 'stored', 'failed') AS here
           FROM seeded CROSS JOIN LATERAL generate_series(1, expected) AS place
           CROSS JOIN LATERAL (SELECT CASE kind WHEN 'completed' THEN 'stored'
                                                WHEN 'failed' THEN CASE place WHEN 1 THEN 'failed' ELSE 'stored' END
                                                WHEN 'processing' THEN CASE place % 2 WHEN 0 THEN 'stored' ELSE 'received' END
                                                WHEN 'uploading' THEN CASE place WHEN 1 THEN 'received' WHEN 2 THEN 'uploading' END
                                                WHEN 'expired' THEN CASE place WHEN 1 THEN 'stored' WHEN 2 THEN 'expired' END END AS status) AS state
           WHERE status IS NOT NULL ORDER BY n, place) AS shown`,
    [stagingId],
  );
}
