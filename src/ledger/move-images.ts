import type { Database } from '../database/connection.ts';
import { prepared, type Statement, sql, text } from '../database/sql.ts';
import { type ImageStatus, isLive, isReceived, liveStatuses, receivedStatuses } from '../model/states.ts';
import {
  type Change,
  changedTicket,
  countChanges,
  imageColumns,
  inTurn,
  type TicketChanges,
  toChange,
} from './count-and-announce.ts';

/** The columns that a transition may write beside the status. */
export type ImageChanges = Partial<{
  size: number;
  filename: string | null;
  content_type: string | null;
  format: string | null;
  width: number | null;
  height: number | null;
  orientation: number | null;
  display_width: number | null;
  display_height: number | null;
  sha256: string;
  md5: string;
  attempts: number;
  error_code: string | null;
  error_message: string | null;
  storage_provider: string;
  storage_key: string;
  storage_asset_id: string | null;
  storage_version: string | null;
  storage_width: number | null;
  storage_height: number | null;
  storage_format: string | null;
  url: string;
  received_at: Date;
  stored_at: Date;
}>;

/** Moves one image as `moveImages` does; null when the image was in none of the states `from`. */
export async function moveImage(
  db: Database,
  imageId: string,
  from: readonly ImageStatus[],
  to: ImageStatus,
  changes: ImageChanges = {},
): Promise<Change | null> {
  const [change] = await moveImages(db, [{ imageId, changes }], from, to);
  return change ?? null;
}

/**
 * Moves images from any of the states `from` to `to`, counts that in their tickets, and announces each image with its
 * ticket on commit: one version of the ticket for each image, in the order of the ids. Resolves to the changes, in that order.
 *
 * One conditional statement: an image in any other state is left alone, so that repeating a transition is harmless. The
 * statement locks the tickets in the order of their ids, and each ticket before its images, as every other statement does.
 *
 * @param holder when given, only images move whose upload this process holds
 * @param beside when given, a part of the same statement, run whatever moves; the moved images are the rows of `moved`
 */
export async function moveImages(
  db: Database,
  moves: { imageId: string; changes?: ImageChanges }[],
  from: readonly ImageStatus[],
  to: ImageStatus,
  { holder, beside }: { holder?: string; beside?: Statement } = {},
): Promise<Change[]> {
  const columns = [...new Set(moves.flatMap(({ changes = {} }) => Object.keys(changes)))].sort();
  const live = text(isLive(to) ? '1' : '0');
  const received = text(isReceived(to) ? '1' : '0');
  const stored = text(to === 'stored' ? '1' : '0');
  const failed = text(to === 'failed' ? '1' : '0');
  const rows = await prepared(
    db,
    sql<{ ticket: TicketChanges['ticket']; images: string; steps: string }>`
    WITH wanted AS (
      SELECT "imageId" AS id, changes
      FROM jsonb_to_recordset(${JSON.stringify(moves)}::jsonb) AS wanted ("imageId" uuid, changes jsonb)
    ), held AS (
      SELECT images.id, images AS before, coalesce(images.size, 0) AS bytes,
             (images.status = ANY (${liveStatuses}))::int AS live,
             (images.status = ANY (${receivedStatuses}))::int AS received,
             (images.status = 'stored')::int AS stored, (images.status = 'failed')::int AS failed
      FROM tickets JOIN images ON images.ticket_id = tickets.id
      -- Images are found by id alone. A condition "status = ANY" would let the planner prefer an index over statuses, which
      -- is right only until the statistics say that thousands are under way. And the planner must not see the ids: for few
      -- ids it would plan each execution anew, which takes longer than the execution.
      WHERE images.id = ANY (ARRAY(SELECT id FROM wanted)) AND array_position(${from}::text[], images.status) IS NOT NULL
        ${holder === undefined ? sql`` : sql`AND images.holder IS NOT DISTINCT FROM ${holder}`}
      ORDER BY tickets.id, images.id FOR NO KEY UPDATE OF tickets, images
    ), moved AS (
      UPDATE images SET status = ${to}, updated_at = now()${text(columns.map((column) => `, ${column} = new.${column}`).join(''))}
      FROM held JOIN wanted USING (id), jsonb_populate_record(held.before, coalesce(wanted.changes, '{}')) AS new
      WHERE images.id = held.id RETURNING ${text(imageColumns.map((column) => `images.${column}`).join(', '))}
    ), changed AS (
      SELECT moved.id, ticket_id, staging, status, size, to_json(moved)::text AS image,
             ${live} - held.live AS claimed, ${received} - held.received AS received,
             ${stored} - held.stored AS stored, ${failed} - held.failed AS failed,
             ${live} * coalesce(size, 0) - held.live * bytes AS bytes_total,
             ${received} * coalesce(size, 0) - held.received * bytes AS bytes_received,
             ${stored} * coalesce(size, 0) - held.stored * bytes AS bytes_stored
      FROM moved JOIN held ON held.id = moved.id
    ), ${beside ? sql`beside AS (${beside}),` : sql``}
    ${countChanges('tickets', sql`${changedTicket} AS ticket, images, steps`)}
    SELECT ticket, '[' || array_to_string(images, ',') || ']' AS images, '[' || array_to_string(steps, ',') || ']' AS steps
    FROM counted`,
  );
  return rows.flatMap(({ ticket, images, steps }) =>
    inTurn({ ticket, images: JSON.parse(images), steps: JSON.parse(steps) }).map(toChange),
  );
}
