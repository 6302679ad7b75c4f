import type { Knex } from 'knex';

// Invariants are constraints: what the code promises, the database refuses to break.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    CREATE TABLE users (
      id            uuid PRIMARY KEY,
      username      text NOT NULL CHECK (username ~ '^[^[:cntrl:][:space:]]{1,100}$'),
      password_hash text,
      is_admin      boolean NOT NULL DEFAULT false,
      disabled_at   timestamptz(3),
      created_at    timestamptz(3) NOT NULL DEFAULT now(),
      updated_at    timestamptz(3) NOT NULL DEFAULT now()
    );
    CREATE UNIQUE INDEX users_username ON users (lower(username));

    CREATE TABLE tickets (
      id             uuid PRIMARY KEY,
      user_id        uuid NOT NULL REFERENCES users,
      expected       integer NOT NULL CHECK (expected BETWEEN 1 AND 1000),
      claimed        integer NOT NULL DEFAULT 0,
      received       integer NOT NULL DEFAULT 0,
      stored         integer NOT NULL DEFAULT 0,
      failed         integer NOT NULL DEFAULT 0,
      bytes_total    bigint NOT NULL DEFAULT 0 CHECK (bytes_total >= 0),
      bytes_received bigint NOT NULL DEFAULT 0 CHECK (bytes_received >= 0),
      bytes_stored   bigint NOT NULL DEFAULT 0 CHECK (bytes_stored >= 0),
      expired        boolean NOT NULL DEFAULT false,
      status         text NOT NULL GENERATED ALWAYS AS (
        CASE
          WHEN stored = expected THEN 'completed'
          WHEN received = expected THEN 'processing'
          WHEN expired THEN 'expired'
          WHEN claimed > 0 THEN 'uploading'
          ELSE 'pending'
        END
      ) STORED,
      version        integer NOT NULL DEFAULT 1,
      description    varchar(255),
      metadata       jsonb,
      idempotency_key    varchar(255),
      idempotency_sha256 bytea,
      created_at     timestamptz(3) NOT NULL DEFAULT now(),
      updated_at     timestamptz(3) NOT NULL DEFAULT now(),
      expires_at     timestamptz(3) NOT NULL,
      completed_at   timestamptz(3),
      CONSTRAINT tickets_places CHECK (0 <= stored AND 0 <= failed AND stored + failed <= received
                                       AND received <= claimed AND claimed <= expected),
      CONSTRAINT tickets_completed CHECK ((stored = expected) = (completed_at IS NOT NULL))
    );
    -- The list: own tickets, newest first, by date range; and the same within one status.
    CREATE INDEX tickets_by_user ON tickets (user_id, created_at, id);
    CREATE INDEX tickets_by_status ON tickets (user_id, status, created_at, id);
    CREATE UNIQUE INDEX tickets_idempotency ON tickets (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
    -- The expiry sweep: tickets whose time can still run out.
    CREATE INDEX tickets_expiring ON tickets (expires_at) WHERE NOT expired AND received < expected;

    CREATE TABLE tokens (
      id           uuid PRIMARY KEY,
      user_id      uuid NOT NULL REFERENCES users ON DELETE CASCADE,
      kind         text NOT NULL CHECK (kind IN ('user', 'upload')),
      ticket_id    uuid REFERENCES tickets ON DELETE CASCADE,
      label        text,
      sha256       bytea NOT NULL UNIQUE CHECK (length(sha256) = 32),
      expires_at   timestamptz(3),
      revoked_at   timestamptz(3),
      last_used_at timestamptz(3),
      created_at   timestamptz(3) NOT NULL DEFAULT now(),
      CONSTRAINT tokens_kind CHECK ((kind = 'upload') = (ticket_id IS NOT NULL))
    );
    CREATE INDEX tokens_by_user ON tokens (user_id, id);
    CREATE INDEX tokens_by_ticket ON tokens (ticket_id) WHERE ticket_id IS NOT NULL;

    CREATE TABLE images (
      id              uuid PRIMARY KEY,
      ticket_id       uuid NOT NULL REFERENCES tickets ON DELETE CASCADE,
      status          text NOT NULL DEFAULT 'uploading' CHECK (status IN ('uploading', 'received', 'transferring', 'stored',
                                                                         'failed', 'rejected', 'cancelled', 'expired')),
      slot            varchar(64),
      size            bigint CHECK (size > 0),
      staging         text NOT NULL,
      filename        text,
      upload_metadata text,
      expected_sha256 char(64),
      content_type    text,
      format          text,
      width           integer,
      height          integer,
      sha256          char(64),
      md5             char(32),
      attempts        integer NOT NULL DEFAULT 0,
      error_code      text,
      error_message   text,
      storage_provider text,
      storage_key      text,
      storage_asset_id text,
      storage_version  text,
      url              text,
      created_at      timestamptz(3) NOT NULL DEFAULT now(),
      updated_at      timestamptz(3) NOT NULL DEFAULT now(),
      received_at     timestamptz(3),
      stored_at       timestamptz(3),
      CONSTRAINT images_received CHECK (status IN ('uploading', 'rejected', 'cancelled', 'expired')
                                        OR (size IS NOT NULL AND sha256 IS NOT NULL AND md5 IS NOT NULL AND received_at IS NOT NULL)),
      CONSTRAINT images_stored CHECK ((status = 'stored') = (stored_at IS NOT NULL)
                                      AND (status <> 'stored' OR (url IS NOT NULL AND storage_key IS NOT NULL)))
    );
    CREATE INDEX images_by_ticket ON images (ticket_id, id);
    CREATE UNIQUE INDEX images_live_slot ON images (ticket_id, slot)
      WHERE slot IS NOT NULL AND status IN ('uploading', 'received', 'transferring', 'stored', 'failed');
    -- Recovery: what a staging area still answers for.
    CREATE INDEX images_in_staging ON images (staging, status, id) WHERE status IN ('uploading', 'received', 'transferring', 'failed');

    -- Tells every process what changed, on commit. A payload of NOTIFY has less than 8000 bytes, and a ticket's metadata
    -- may need most of them: where it does, listeners read it themselves. A ticket without it has at most 2400 bytes, an
    -- image 5000 (names and descriptions are at most 255 characters of 4 bytes), with its error message cut to fit.
    CREATE FUNCTION announce(ticket jsonb, image jsonb) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
      shown jsonb := ticket - 'idempotency_key' - 'idempotency_sha256';
      payload text;
    BEGIN
      image := image - 'upload_metadata';
      payload := json_build_object('ticket', shown, 'image', image)::text;
      IF octet_length(payload) > 7900 THEN
        IF length(image ->> 'error_message') > 200 THEN
          image := jsonb_set(image, '{error_message}', to_jsonb(left(image ->> 'error_message', 200) || '…'));
        END IF;
        payload := json_build_object('ticket', shown - 'metadata', 'image', image)::text;
      END IF;
      PERFORM pg_notify('hopla_changes', payload);
    END $$;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw('DROP FUNCTION announce; DROP TABLE images, tokens, tickets, users');
}
