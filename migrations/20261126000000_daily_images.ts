import type { Knex } from 'knex';

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- Images begun today, for users whose number is limited (MAX_IMAGES_PER_DAY). One row a user: the next day begins it anew.
    CREATE TABLE daily_images (
      user_id uuid PRIMARY KEY REFERENCES users ON DELETE CASCADE,
      day     date NOT NULL,
      images  integer NOT NULL CHECK (images >= 0)
    );
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw('DROP TABLE daily_images');
}
