import { expect } from 'chai';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

/** Everything that a migration may make: columns with their types, constraints, indexes, triggers, functions. */
const CATALOGUE = `
  SELECT format('%s.%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull) AS thing
    FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped AND attrelid::regclass::text IN
      (SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace)
  UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
  UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
  ORDER BY 1`;

describe('migrations', () => {
  let database: TestDatabase;
  let db: Database;
  before(async () => {
    database = await createTestDatabase();
    db = connectDatabase(database.databaseUrl);
  });
  after(async () => {
    await db.destroy();
    await database.drop();
  });

  it('each take back what they did, whole', async () => {
    const catalogue = async (): Promise<string[]> =>
      (await db.raw(CATALOGUE)).rows.map(({ thing }: { thing: string }) => thing);
    const states: string[][] = [];
    const [, pending] = (await db.migrate.list()) as [unknown[], unknown[]];
    // The table in which they are noted is made by the first look.
    for (const _each of pending) {
      states.push(await catalogue());
      await db.migrate.up();
      expect(await catalogue()).not.to.deep.equal(states.at(-1));
    }
    const latest = await catalogue();
    for (const state of states.reverse()) {
      await db.migrate.down();
      expect(await catalogue()).to.deep.equal(state);
    }
    await db.migrate.latest();
    expect(await catalogue()).to.deep.equal(latest);
  });
});
