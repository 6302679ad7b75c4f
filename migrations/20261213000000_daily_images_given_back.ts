import type { Knex } from 'knex';

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- An image that ends before it is received is none of its user's day, whatever ended it: its client, its bytes, the ticket's
    -- time, an admin. A guest who begins and cancels all day long uses nothing up.
    CREATE FUNCTION give_back_daily_image() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE daily_images SET images = daily_images.images - 1
      FROM tickets
      WHERE tickets.id = NEW.ticket_id AND daily_images.user_id = tickets.user_id AND daily_images.images > 0
        AND daily_images.day = (NEW.created_at AT TIME ZONE 'UTC')::date;
      RETURN NULL;
    END $$;
    CREATE TRIGGER images_given_back AFTER UPDATE OF status ON images FOR EACH ROW
      WHEN (OLD.status = 'uploading' AND NEW.status IN ('rejected', 'cancelled', 'expired'))
      EXECUTE FUNCTION give_back_daily_image();
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw('DROP TRIGGER images_given_back ON images; DROP FUNCTION give_back_daily_image');
}
