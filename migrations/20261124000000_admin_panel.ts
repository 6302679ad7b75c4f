import type { Knex } from 'knex';

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- Who is signed in to the admin panel. Only the SHA-256 of what the cookie says is kept, as with tokens.
    CREATE TABLE sessions (
      sha256     bytea PRIMARY KEY CHECK (length(sha256) = 32),
      user_id    uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      -- What the next page says of the change before it.
      notice     jsonb,
      created_at timestamptz(3) NOT NULL DEFAULT now(),
      seen_at    timestamptz(3) NOT NULL DEFAULT now()
    );
    CREATE INDEX sessions_by_user ON sessions (user_id);

    -- Every change made from the admin side, written in the transaction of the change. No foreign keys: what is deleted
    -- stays on record.
    CREATE TABLE audit_log (
      id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      at            timestamptz(3) NOT NULL DEFAULT now(),
      actor         text NOT NULL,
      -- Null for the command line, whose actors are "cli:<user of the operating system>".
      actor_user_id uuid,
      action        text NOT NULL,
      target_kind   text NOT NULL CHECK (target_kind IN ('ticket', 'image', 'user', 'token')),
      target_id     uuid NOT NULL,
      before        jsonb,
      after         jsonb
    );
    CREATE INDEX audit_log_by_actor ON audit_log (lower(actor), id);
    CREATE INDEX audit_log_by_action ON audit_log (action, id);
    CREATE INDEX audit_log_by_target ON audit_log (target_id, id);

    CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'The audit log is only ever added to';
    END $$;
    CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log EXECUTE FUNCTION refuse_change();

    -- The lists of all users' tickets, newest first, and within one status.
    CREATE INDEX tickets_by_time ON tickets (created_at, id);
    CREATE INDEX tickets_by_status_time ON tickets (status, created_at, id);
    -- What is not stored, within one status. Stored images are most of them: the primary key serves those.
    CREATE INDEX images_by_status ON images (status, id) WHERE status <> 'stored';
    -- Tokens that people handle. Upload tokens, at least one for every ticket, are found by ticket or user.
    CREATE INDEX tokens_of_users ON tokens (id) WHERE kind = 'user';
    -- Images received and stored a minute. Both columns grow, so what is written is always the end of the index.
    CREATE INDEX images_by_receipt ON images (received_at) WHERE received_at IS NOT NULL;
    CREATE INDEX images_by_storing ON images (stored_at) WHERE stored_at IS NOT NULL;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    DROP INDEX images_by_storing, images_by_receipt, tokens_of_users, images_by_status, tickets_by_status_time, tickets_by_time;
    DROP TABLE audit_log, sessions;
    DROP FUNCTION refuse_change;
  `);
}
