import type { Database } from '../database/connection.ts';

/** Long enough for whoever asks an admin why a token does not work any more. */
const KEPT = "interval '1 day'";
const BATCH = 1000;
/** The next sweep takes the rest of a long backlog. */
const BATCHES = 20;

/**
 * Deletes tokens that expired more than a day ago: every ticket makes at least one. Processes that sweep at the same
 * time take different rows.
 */
export async function sweepTokens(db: Database): Promise<void> {
  for (let batch = 0; batch < BATCHES; batch++) {
    const { rowCount } = (await db.raw(
      `DELETE FROM tokens WHERE id = ANY (ARRAY (
         SELECT id FROM tokens WHERE expires_at < now() - ${KEPT} ORDER BY expires_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED))`,
    )) as { rowCount: number };
    if (rowCount < BATCH) break;
  }
}
