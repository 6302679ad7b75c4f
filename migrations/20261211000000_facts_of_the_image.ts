import type { Knex } from 'knex';

/**
 * What is found in an image's own header is one thing, what the store says of its asset another. Of images that are stored
 * already the store's numbers had taken the place of ours: they move to columns of their own. The media type was never
 * overwritten, and gives the format back; the size stays as the store said it, as nobody has the file any more.
 */
export async function up(db: Knex): Promise<void> {
  await db.raw(`
    ALTER TABLE images
      ADD COLUMN orientation smallint CHECK (orientation BETWEEN 1 AND 8),
      ADD COLUMN display_width integer,
      ADD COLUMN display_height integer,
      ADD COLUMN storage_width integer,
      ADD COLUMN storage_height integer,
      ADD COLUMN storage_format text;
    UPDATE images SET storage_width = width, storage_height = height, storage_format = format,
      format = coalesce(CASE content_type WHEN 'image/jpeg' THEN 'jpg' ELSE substring(content_type FROM '^image/([a-z]+)$') END, format)
    WHERE status = 'stored';
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    UPDATE images SET width = coalesce(storage_width, width), height = coalesce(storage_height, height),
      format = coalesce(storage_format, format)
    WHERE status = 'stored';
    ALTER TABLE images DROP COLUMN orientation, DROP COLUMN display_width, DROP COLUMN display_height,
      DROP COLUMN storage_width, DROP COLUMN storage_height, DROP COLUMN storage_format;
  `);
}
