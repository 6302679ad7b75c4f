import type { Knex } from 'knex';

/** An image is received with its SHA-256; its MD5 is what the store confirmed, and known once that has it. */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    ALTER TABLE images DROP CONSTRAINT images_received;
    ALTER TABLE images ADD CONSTRAINT images_received
      CHECK (status IN ('uploading', 'rejected', 'cancelled', 'expired')
             OR (size IS NOT NULL AND sha256 IS NOT NULL AND received_at IS NOT NULL)) NOT VALID;
    ALTER TABLE images VALIDATE CONSTRAINT images_received;
  `);
}

/** Fails while images wait for the store: what is sent by an earlier version needs their MD5 before. */
export async function down(db: Knex): Promise<void> {
  await db.raw(`
    ALTER TABLE images DROP CONSTRAINT images_received;
    ALTER TABLE images ADD CONSTRAINT images_received
      CHECK (status IN ('uploading', 'rejected', 'cancelled', 'expired')
             OR (size IS NOT NULL AND sha256 IS NOT NULL AND md5 IS NOT NULL AND received_at IS NOT NULL));
  `);
}
