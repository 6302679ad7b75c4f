import type { Database } from '../database/connection.ts';
import { prepared } from '../database/prepared.ts';

/**
 * Locks the tickets of images in the order of their ids: each statement of ours locks its own that way, and several of them
 * in one transaction need one order together.
 */
export async function lockTickets(trx: Database, imageIds: string[]): Promise<void> {
  await prepared(
    trx,
    `SELECT id FROM tickets
     WHERE id = ANY (ARRAY(SELECT ticket_id FROM images WHERE id = ANY (?::uuid[])))
     ORDER BY id FOR NO KEY UPDATE`,
    [imageIds],
  );
}
