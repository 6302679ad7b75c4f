import { randomUUID, randomUUIDv7 } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { PgBoss } from 'pg-boss';
import pino from 'pino';
import { connectDatabase, type Database, migrate } from '../../src/database/connection.ts';
import { enqueueTransfers, queueOf, startQueue } from '../../src/transfers/queue.ts';
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
    for (const _twice of [1, 2]) await db.raw(enqueue, [ours, staging.id]);
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
  });
});
