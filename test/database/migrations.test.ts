import { expect } from 'chai';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import { findUser } from '../../src/identity/users.ts';
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

const userId = (n: number) => `01a20740-0000-7000-8000-00000000000${n}`;

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

  it('keep users whose names differ only as nobody can see, each found by its own, and know tokens of logins', async () => {
    const isApplied = async () => {
      const [applied] = (await db.migrate.list()) as [{ name: string }[], unknown[]];
      return applied.some(({ name }) => name.includes('names_logins_and_sweep'));
    };
    while (await isApplied()) await db.migrate.down();
    const names = ['\uff21nna', 'Anna', 'ben', 'ÉVA', 'éva'];
    for (const [n, username] of names.entries()) await db('users').insert({ id: userId(n), username });
    const token = { user_id: userId(1), kind: 'user', label: 'login' };
    await db('tokens').insert({ ...token, id: userId(7), sha256: Buffer.alloc(32, 7) });
    await db('tokens').insert({ ...token, id: userId(8), sha256: Buffer.alloc(32, 8) });
    const issued = { actor: 'ada', action: 'token.issue', target_kind: 'token', target_id: userId(8) };
    await db('audit_log').insert(issued);

    await db.migrate.latest();
    for (const [n, username] of names.entries())
      expect((await findUser(db, username))?.id, username).to.equal(userId(n));
    expect((await findUser(db, 'BEN'))?.id).to.equal(userId(2));
    expect((await findUser(db, 'Éva'))?.id, 'the older one').to.equal(userId(3));
    const tokens = await db('tokens').select('is_login').orderBy('id');
    expect(tokens).to.deep.equal([{ is_login: true }, { is_login: false }]);
  });
});
