import type { Knex } from 'knex';

// What one statement changes in a ticket is announced together, however many images it is: to write down how the ticket stood
// after each of them took longer than all else that the statement does. The first line says what it is about, the second has
// the ticket after all of it, the images, and what each of them added to the ticket's counters (src/ledger/count-and-announce.ts).
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- A payload of NOTIFY has less than 8000 bytes. What does not fit goes in two halves; the first has also the steps of the
    -- second, which lead back from the ticket as it is in the end.
    CREATE FUNCTION announce(ticket jsonb, headings text[], images text[], steps text[]) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
      payload text := '["' || (ticket ->> 'id') || '","' || (ticket ->> 'user_id') || '",['
                      || array_to_string(headings, ',') || E']]\\n{"ticket":' || ticket || ',"images":['
                      || array_to_string(images, ',') || '],"steps":[' || array_to_string(steps, ',') || ']}';
      half integer := cardinality(images) / 2;
    BEGIN
      IF octet_length(payload) <= 7900 THEN
        PERFORM pg_notify('hopla_changes', payload);
      ELSIF half > 0 THEN
        PERFORM announce(ticket, headings[:half], images[:half], steps);
        PERFORM announce(ticket, headings[half + 1:], images[half + 1:], steps[half + 1:]);
      ELSIF length(images[1]::jsonb ->> 'error_message') > 201 THEN
        PERFORM announce(ticket, headings, ARRAY[jsonb_set(images[1]::jsonb, '{error_message}',
          to_jsonb(left(images[1]::jsonb ->> 'error_message', 200) || '…'))::text], steps);
      ELSIF ticket ->> 'metadata' IS NOT NULL THEN
        -- Listeners read it themselves. Without it a ticket has at most 2400 bytes, an image 4000 (names and descriptions are
        -- at most 255 characters of 4 bytes), and the steps of 32 images 1200.
        PERFORM announce(ticket - 'metadata', headings, images, steps);
      ELSE
        PERFORM pg_notify('hopla_changes', payload);
      END IF;
    END $$;

    -- A ticket that changed without an image; and one image, for a process from before that still runs meanwhile.
    CREATE OR REPLACE FUNCTION announce(ticket jsonb, image jsonb) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
      shown jsonb := ticket - '{idempotency_key,idempotency_sha256}'::text[];
    BEGIN
      IF image IS NULL THEN
        PERFORM announce(shown, '{}', '{}', '{}');
      ELSE
        PERFORM announce(shown,
          ARRAY[json_build_array(image -> 'id', image -> 'staging', image -> 'status', image -> 'size')::text],
          ARRAY[(image - 'upload_metadata')::text], ARRAY['[]']);
      END IF;
    END $$;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    DROP FUNCTION announce(jsonb, text[], text[], text[]);
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
