import type { Knex } from 'knex';

/**
 * An image that was received is never `rejected` or `expired` again: nothing but a person gives it up. Older versions rejected
 * images that the store refused; their rows stay as they are, so the constraint is not validated.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    ALTER TABLE images ADD CONSTRAINT images_acknowledged
      CHECK (received_at IS NULL OR status NOT IN ('uploading', 'rejected', 'expired')) NOT VALID;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw('ALTER TABLE images DROP CONSTRAINT images_acknowledged');
}
