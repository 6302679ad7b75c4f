import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { PgBoss } from 'pg-boss';
import pino from 'pino';
import { connectDatabase, type Database, migrate } from '../../src/database/connection.ts';
import { endTransfers, enqueueTransfers, fetchTransfers, queueOf, startQueue } from '../../src/transfers/queue.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

describe('a transfer that is queued in our own statement', () => {
  const staging = { id: randomUUID(), directory: '' };
  let database: TestDatabase;
  let db: Database;
  let boss: PgBoss;
  before(async () => {
    staging.directory = await mkdtemp(join(tmpdir(), 'hopla-queue-'));
    database = await createTestDatabase();
    db = connectDatabase(database.databaseUrl);
    await migrate(db);
    boss = await startQueue(database.databaseUrl, staging, pino({ level: 'silent' }));
  });
  after(async () => {
    await boss.stop({ graceful: false });
    await db.destroy();
    await database.drop();
    await rm(staging.directory, { recursive: true });
  });

  it('is the job that pg-boss would have made, once', async () => {
    const [theirs, ours] = [randomUUIDv7(), randomUUIDv7()];
    await boss.insert(queueOf(staging.id), [{ id: theirs, data: { imageId: theirs } }]);
    const enqueue = enqueueTransfers('(SELECT ?::uuid AS id, ?::text AS staging) AS images');
    for (const _twice of [1, 2]) await db.raw(enqueue.sql, [ours, staging.id, ...enqueue.bindings] as never);
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

  it('is claimed as pg-boss would have claimed it, those first that wait for longest, and none before its time', async () => {
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
      // Of an image that is not owed nothing is known.
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

  it('is claimed as it is made as by a fetch right after it', async () => {
    const [theirs, ours, other] = [randomUUIDv7(), randomUUIDv7(), randomUUIDv7()];
    const queue = queueOf(staging.id);
    await boss.insert(queue, [{ id: theirs, data: { imageId: theirs } }]);
    await boss.fetch(queue);
    const { sql, bindings } = enqueueTransfers('(SELECT unnest(?::uuid[]) AS id, ?::text AS staging) AS images', [
      ours,
    ]);
    await db.raw(sql, [[ours, other], staging.id, ...bindings] as never);
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

  it('is claimed once, however many ask while it is changed', async () => {
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

  it('is claimed without reading all that wait', async () => {
    const name = queueOf(staging.id);
    await using lone = Object.assign(connectDatabase(database.databaseUrl, { maxConnections: 1 }), {
      [Symbol.asyncDispose]: () => lone.destroy(),
    });
    // Entries of rows that are gone would count, too.
    await db.raw('VACUUM pgboss.job_common');
    // Planned while nobody waits, which the plan outlives.
    for (let n = 0; n < 8; n++) expect(await fetchTransfers(lone, name, 10)).to.deep.equal([]);
    const { sql, bindings } = enqueueTransfers('(SELECT unnest(?::uuid[]) AS id, ?::text AS staging) AS images');
    const ids = Array.from({ length: 3_000 }, () => randomUUIDv7());
    await db.raw(sql, [ids, staging.id, ...bindings] as never);
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

  it('ends for the attempt that claimed it, and no other', async () => {
    const id = randomUUIDv7();
    const name = queueOf(staging.id);
    await boss.insert(name, [{ id, data: { imageId: id } }]);
    const end = async (retryCount: number) => {
      const { sql, bindings } = endTransfers([{ id, name, data: { imageId: id }, retryCount }]);
      return (await db.raw(sql, bindings as never)).rowCount;
    };
    expect(await end(0), 'nobody claimed it').to.equal(0);
    await fetchTransfers(db, name, 1);
    expect(await end(1), 'of an attempt that is to come').to.equal(0);
    expect(await end(0)).to.equal(1);
    expect((await db.raw('SELECT FROM pgboss.job')).rowCount).to.equal(0);
  });
});
