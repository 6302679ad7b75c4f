import type { Knex } from 'knex';

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- The process that receives this upload (its name in uploads/peers.ts); null is nobody. It alone writes the staged file.
    ALTER TABLE images ADD COLUMN holder text;
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw('ALTER TABLE images DROP COLUMN holder');
}
