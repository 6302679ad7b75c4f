import type { Knex } from 'knex';

const BATCH = 1000;

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    ALTER TABLE users ADD COLUMN name_key text;

    -- A token of a login ends with all logins of its user; one that an admin issued for an application does not.
    ALTER TABLE tokens ADD COLUMN is_login boolean NOT NULL DEFAULT false;
    UPDATE tokens SET is_login = true
      WHERE kind = 'user' AND label = 'login'
        AND NOT EXISTS (SELECT FROM audit_log WHERE action = 'token.issue' AND target_id = tokens.id);
    ALTER TABLE tokens ADD CONSTRAINT tokens_login CHECK (kind = 'user' OR NOT is_login);
    CREATE INDEX tokens_of_logins ON tokens (user_id) WHERE is_login;
    -- The sweep of tokens that expired.
    CREATE INDEX tokens_expiring ON tokens (expires_at) WHERE expires_at IS NOT NULL;
  `);
  await fillNameKeys(db);
  await db.raw('CREATE UNIQUE INDEX users_name_key ON users (name_key)');
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    DROP INDEX users_name_key, tokens_expiring, tokens_of_logins;
    ALTER TABLE tokens DROP CONSTRAINT tokens_login, DROP COLUMN is_login;
    ALTER TABLE users DROP COLUMN name_key;
  `);
}

/** As `nameKey` was in src/identity/user-names.ts when this was written. The oldest of the users with the same key keeps it. */
async function fillNameKeys(db: Knex): Promise<void> {
  for (let after = '00000000-0000-0000-0000-000000000000'; ; ) {
    const users: { id: string; username: string }[] = await db('users')
      .select('id', 'username')
      .where('id', '>', after)
      .orderBy('id')
      .limit(BATCH);
    const last = users.at(-1);
    if (!last) break;
    after = last.id;
    const keys = users.map(({ username }) => username.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC'));
    await db.raw(
      `UPDATE users SET name_key = keys.name_key
       FROM unnest(?::uuid[], ?::text[]) AS keys (id, name_key) WHERE users.id = keys.id`,
      [users.map(({ id }) => id), keys] as never,
    );
  }
  await db.raw(`
    UPDATE users SET name_key = NULL FROM users AS older
    WHERE older.name_key = users.name_key AND (older.created_at, older.id) < (users.created_at, users.id)
  `);
}
