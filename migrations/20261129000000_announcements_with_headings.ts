import type { Knex } from 'knex';

// Most announcements interest nobody who listens to this process: a line ahead of the rows says what they are about, so that
// only those are read whose ticket or user has a listener.
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    CREATE OR REPLACE FUNCTION announce(ticket jsonb, image jsonb) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
      shown jsonb := ticket - '{idempotency_key,idempotency_sha256}'::text[];
      heading text := json_build_array(ticket -> 'id', ticket -> 'user_id', image -> 'id', image -> 'staging',
                                       image -> 'status', image -> 'size')::text || E'\\n';
      payload text;
    BEGIN
      image := image - 'upload_metadata';
      payload := heading || json_build_object('ticket', shown, 'image', image)::text;
      IF octet_length(payload) > 7900 THEN
        IF length(image ->> 'error_message') > 200 THEN
          image := jsonb_set(image, '{error_message}', to_jsonb(left(image ->> 'error_message', 200) || '…'));
        END IF;
        payload := heading || json_build_object('ticket', shown - 'metadata', 'image', image)::text;
      END IF;
      PERFORM pg_notify('hopla_changes', payload);
    END $$;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    CREATE OR REPLACE FUNCTION announce(ticket jsonb, image jsonb) RETURNS void LANGUAGE plpgsql AS $$
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
