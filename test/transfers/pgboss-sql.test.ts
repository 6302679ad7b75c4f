import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { PgBoss } from 'pg-boss';
import pino from 'pino';
import { connectDatabase, type Database, migrate } from '../../src/database/connection.ts';
import { query, sql } from '../../src/database/sql.ts';
import { queueOf } from '../../src/transfers/job.ts';
import {
  assertQueueSchema,
  endTransfers,
  enqueueTransfers,
  fetchTransfers,
  QUEUE_SCHEMA,
} from '../../src/transfers/pgboss-sql.ts';
import { startQueue } from '../../src/transfers/queue.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

describe('the SQL on the tables of pg-boss', () => {
  const staging = { id: randomUUID(), directory: '' };
  let database: TestDatabase;
  let db: Database;
  let boss: PgBoss;
  before(async () => {
    staging.directory = await mkdtemp(join(tmpdir(), 'hopla-queue-'));
    database = await createTestDatabase();
    db = connectDatabase(database.databaseUrl);
    await migrate(db);
    boss = await startQueue(db, database.databaseUrl, staging, pino({ level: 'silent' }));
  });
  after(async () => {
    await boss.stop({ graceful: false });
    await db.destroy();
    await database.drop();
    await rm(staging.directory, { recursive: true });
  });

  const images = (ids: string[]) =>
    sql`(SELECT unnest(${ids}::uuid[]) AS id, ${staging.id}::text AS staging) AS images`;

  it('queues the job that pg-boss would have queued, once', async () => {
    const [theirs, ours] = [randomUUIDv7(), randomUUIDv7()];
    await boss.insert(queueOf(staging.id), [{ id: theirs, data: { imageId: theirs } }]);
    const enqueue = enqueueTransfers(sql`(SELECT ${ours}::uuid AS id, ${staging.id}::text AS staging) AS images`);
    for (const _twice of [1, 2]) await query(db, enqueue);
    const { rows } = await db.raw(
      `SELECT id, (keep_until - start_after)::text AS kept, start_after = created_on AS at_once,
              to_jsonb(job) - '{id,data,created_on,start_after,keep_until}'::text[] AS job, data
       FROM pgboss.job ORDER BY id`,
    );
    const [expected, made] = rows;
    expect(rows.map(({ id, data }: { id: string; data: object }) => ({ id, data }))).to.deep.equal(
      [theirs, ours].sort().map((id) => ({ id, data: { imageId: id } })),
    );
    expect({ ...made, id: '', data: '' }).to.deep.equal({ ...expected, id: '', data: '' });
    await db.raw('DELETE FROM pgboss.job');
  });

  it('claims a job as pg-boss does: the longest waiting first, and none before its time', async () => {
    const [early, late, waiting] = [randomUUIDv7(), randomUUIDv7(), randomUUIDv7()];
    const queue = queueOf(staging.id);
    const queueUp = (id: string, options = {}) => boss.insert(queue, [{ id, data: { imageId: id }, ...options }]);
    await queueUp(late);
    await queueUp(waiting, { startAfter: 60 });
    await db.raw(`UPDATE pgboss.job SET created_on = created_on + interval '1 s' WHERE id = ?`, [late]);
    await queueUp(early);
    const states = async () => {
      const { rows } = await db.raw(
        `SELECT id, state, retry_count, heartbeat_on = started_on AS beats, started_on IS NULL AS idle
         FROM pgboss.job ORDER BY id`,
      );
      return new Map(rows.map(({ id, ...row }: { id: string }) => [id, row]));
    };
    for (const retryCount of [0, 1]) {
      // There is no row of this image, so the claim comes without an image.
      expect(await fetchTransfers(db, queue, 1)).to.deep.equal([{ id: early, retryCount, image: null }]);
      expect((await boss.fetch(queue)).map(({ id }) => id)).to.deep.equal([late]);
      const now = await states();
      expect(now.get(early)).to.deep.equal(now.get(late));
      expect(now.get(early)).to.include({ state: 'active', retry_count: retryCount });
      expect(await fetchTransfers(db, queue, 9)).to.deep.equal([]);
      await boss.fail(queue, [early, late]);
      await db.raw(`UPDATE pgboss.job SET start_after = now() WHERE state = 'retry'`);
    }
    await db.raw('DELETE FROM pgboss.job');
  });

  it('claims a job while it is queued, as by a fetch right after that', async () => {
    const [theirs, ours, other] = [randomUUIDv7(), randomUUIDv7(), randomUUIDv7()];
    const queue = queueOf(staging.id);
    await boss.insert(queue, [{ id: theirs, data: { imageId: theirs } }]);
    await boss.fetch(queue);
    await query(db, enqueueTransfers(images([ours, other]), [ours]));
    const { rows } = await db.raw(
      `SELECT id, heartbeat_on = started_on AS beats,
              to_jsonb(job) - '{id,data,created_on,start_after,keep_until,started_on,heartbeat_on}'::text[] AS job
       FROM pgboss.job`,
    );
    const byId = new Map(rows.map(({ id, ...row }: { id: string }) => [id, row]));
    expect(byId.get(ours)).to.deep.equal(byId.get(theirs));
    expect(byId.get(ours)).to.deep.include({ beats: true });
    expect(await fetchTransfers(db, queue, 9)).to.deep.equal([{ id: other, retryCount: 0, image: null }]);
    await db.raw('DELETE FROM pgboss.job');
  });

  it('claims each job once, with many claimants and changes at the same time', async () => {
    const queue = queueOf(staging.id);
    const ids = Array.from({ length: 300 }, () => randomUUIDv7());
    await boss.insert(
      queue,
      ids.map((id) => ({ id, data: { imageId: id } })),
    );
    const claimed: string[] = [];
    const ask = async () => {
      while (claimed.length < ids.length) {
        const fetched = await fetchTransfers(db, queue, 7);
        claimed.push(...fetched.map(({ id }) => id));
      }
    };
    const change = async () => {
      while (claimed.length < ids.length)
        await db.raw(`UPDATE pgboss.job SET priority = 1 - priority WHERE state = 'created'`);
    };
    await Promise.all([change(), ask(), ask(), ask(), ask()]);
    expect(claimed.toSorted()).to.deep.equal(ids.toSorted());
    await db.raw('DELETE FROM pgboss.job');
  });

  it('claims a job without reading all the waiting jobs', async () => {
    const name = queueOf(staging.id);
    await using lone = Object.assign(connectDatabase(database.databaseUrl, { maxConnections: 1 }), {
      [Symbol.asyncDispose]: () => lone.destroy(),
    });
    // Without it, the index entries of deleted rows would be counted too.
    await db.raw('VACUUM pgboss.job_common');
    // The statement is planned while the queue is empty, and keeps that plan.
    for (let n = 0; n < 8; n++) expect(await fetchTransfers(lone, name, 10)).to.deep.equal([]);
    await query(db, enqueueTransfers(images(Array.from({ length: 3_000 }, () => randomUUIDv7()))));
    const read = await lone.transaction(async (trx) => {
      expect(await fetchTransfers(trx, name, 10)).to.have.length(10);
      const { rows } = await trx.raw(
        `SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid))::int AS entries
         FROM pg_index WHERE indrelid = 'pgboss.job_common'::regclass`,
      );
      return rows[0].entries;
    });
    expect(read).to.be.within(10, 100);
    await db.raw('DELETE FROM pgboss.job');
  });

  it('ends a job for the claim that holds it, and for no other claim', async () => {
    const id = randomUUIDv7();
    const name = queueOf(staging.id);
    await boss.insert(name, [{ id, data: { imageId: id } }]);
    const end = async (retryCount: number) => {
      await query(db, endTransfers([{ id, name, data: { imageId: id }, retryCount }]));
      return (await db.raw('SELECT FROM pgboss.job')).rowCount;
    };
    expect(await end(0), 'before any claim').to.equal(1);
    await fetchTransfers(db, name, 1);
    expect(await end(1), 'for a later claim').to.equal(1);
    expect(await end(0), 'for this claim').to.equal(0);
  });

  it('refuses a database whose tables have another version, and names both versions', async () => {
    await db.raw('UPDATE pgboss.version SET version = 47');
    try {
      const failure = await startQueue(db, database.databaseUrl, staging, pino({ level: 'silent' })).catch(
        (error: Error) => error.message,
      );
      expect(failure).to.match(/version 47 of the pg-boss schema.* version 46/);
    } finally {
      await db.raw('UPDATE pgboss.version SET version = ?', [QUEUE_SCHEMA]);
    }
    await assertQueueSchema(db);
  });

  it('was written for the one version of pg-boss that package.json allows', () => {
    const own = JSON.parse(readFileSync('package.json', 'utf8'));
    const installed = JSON.parse(readFileSync('node_modules/pg-boss/package.json', 'utf8'));
    expect(own.dependencies['pg-boss']).to.equal(installed.version);
    expect(installed.pgboss.schema).to.equal(QUEUE_SCHEMA);
  });
});
