import { expect } from 'chai';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const MIGRATION = '20261211000000_facts_of_the_image.ts';

describe('the migration that parts the facts of an image from those of its asset', () => {
  let database: TestDatabase;
  let db: Database;
  before(async () => {
    database = await createTestDatabase();
    db = connectDatabase(database.databaseUrl);
  });
  after(async () => {
    await db.destroy();
    await database.drop();
  });

  const upTo = async (): Promise<void> => {
    for (let done = ''; done !== MIGRATION; ) done = (await db.migrate.up())[1][0].split('/').at(-1);
  };

  it('gives stored images their own format back, keeps what the store said, and undoes it', async () => {
    await upTo();
    await db.migrate.down();
    await db.raw(`
      INSERT INTO users (id, username) VALUES (uuidv7(), 'somebody');
      INSERT INTO tickets (id, user_id, expected, expires_at) SELECT uuidv7(), id, 3, now() FROM users;
      INSERT INTO images (id, ticket_id, slot, status, size, sha256, staging, content_type, format, width, height, received_at,
                          stored_at, url, storage_provider, storage_key)
      SELECT uuidv7(), tickets.id, slot, images.status, 1, repeat('a', 64), 'here', content_type, format, 30, 40, now(),
             CASE images.status WHEN 'stored' THEN now() END, 'http://x', 'cloudinary', 'k'
      FROM tickets, (VALUES ('photo', 'stored', 'image/jpeg', 'jpg'), ('phone', 'stored', 'image/heic', 'jpg'),
                            ('unseen', 'stored', NULL, 'png'), ('waiting', 'received', 'image/heic', 'heic'))
                    AS images (slot, status, content_type, format);
    `);
    const rows = async (columns: string) =>
      Object.fromEntries(
        (await db.raw(`SELECT slot, ${columns} FROM images`)).rows.map(({ slot, ...row }: { slot: string }) => [
          slot,
          Object.values(row).join(' '),
        ]),
      );
    const old = await rows('format, width, height');
    await db.migrate.up();
    expect(await rows('format, width, height, storage_format, storage_width, storage_height')).to.deep.equal({
      photo: 'jpg 30 40 jpg 30 40',
      phone: 'heic 30 40 jpg 30 40',
      unseen: 'png 30 40 png 30 40',
      waiting: 'heic 30 40   ',
    });
    await db.migrate.down();
    expect(await rows('format, width, height')).to.deep.equal(old);
  });
});
