import type { Database } from '../database/connection.ts';
import { HoplaError } from '../model/errors.ts';

/** Tickets that are neither completed nor expired. */
const OPEN = ['pending', 'uploading', 'processing'];

/**
 * Throws `quota-exceeded` when a user has more tickets open than `most`, the one that `trx` has just inserted among them.
 *
 * Exact, also between processes: who opens tickets for the same user at the same time waits here for the other to
 * commit, and then counts what that one made. Never looks at more than `most` + 1 rows of the index by status.
 */
export async function assertOpenTickets(trx: Database, userId: string, most: number): Promise<void> {
  await trx('users').select('id').where({ id: userId }).forNoKeyUpdate();
  const open = await trx('tickets')
    .select('id')
    .where({ user_id: userId })
    .whereIn('status', OPEN)
    .limit(most + 1);
  if (open.length > most) throw new HoplaError('quota-exceeded', `At most ${most} tickets may be open at a time.`);
}

/** Counts the images that each user begins in a day. The database itself gives those back that end before they are received. */
export type DailyImages = {
  /**
   * Takes one, or throws `quota-exceeded`. Resolves to what gives it back when no image came of it: a process that dies
   * in between has counted one too many.
   */
  take(userId: string): Promise<() => Promise<void>>;
};

/** Exact, also between processes: it is one row of the database. Without a limit nothing is asked and nothing counted. */
export function createDailyImages(db: Database, most: number | undefined): DailyImages {
  if (most === undefined) return { take: async () => async () => {} };
  return {
    async take(userId) {
      const { rows } = (await db.raw(
        `INSERT INTO daily_images AS today (user_id, day, images) VALUES (?, (now() AT TIME ZONE 'UTC')::date, 1)
         ON CONFLICT (user_id) DO UPDATE SET
           day = excluded.day, images = CASE today.day WHEN excluded.day THEN today.images ELSE 0 END + 1
           WHERE today.day <> excluded.day OR today.images < ?
         RETURNING day::text`,
        [userId, most],
      )) as { rows: { day: string }[] };
      const [taken] = rows;
      if (!taken) {
        throw new HoplaError('quota-exceeded', `At most ${most} images may be begun in a day (UTC).`, {
          retryAfterMs: untilMidnightMs(),
        });
      }
      return async () => {
        await db('daily_images').where({ user_id: userId, day: taken.day }).decrement('images');
      };
    },
  };
}

const DAY_MS = 86_400_000;

function untilMidnightMs(): number {
  return DAY_MS - (Date.now() % DAY_MS);
}
