import type { Database } from '../database/connection.ts';
import { prepared } from '../database/prepared.ts';
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

/** What a transition may write beside the status; keys are columns. */
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

/** What else a statement changes; it finds what was moved in `moved`. `bindings` are those of `sql`. */
export type Beside = { sql: string; bindings: readonly unknown[] };

/** Moves one image as `moveImages` does; null when nothing was moved. */
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
 * Moves images from any of the states `from` to `to`, counts that in their tickets, and announces each with its ticket on
 * commit: one version of the ticket for each image, in the order of their ids. Resolves to what was moved, in that order.
 *
 * One conditional statement: an image in another state (somebody did it already) is left alone, so repeating a transition
 * is harmless. Locks the tickets in the order of their ids, and each before its images, as everything here does.
 *
 * @param holder when given, the process that must still be the images' holder: of another's upload nothing is moved
 * @param beside when given, done in the same statement, whatever is moved
 */
export async function moveImages(
  db: Database,
  moves: { imageId: string; changes?: ImageChanges }[],
  from: readonly ImageStatus[],
  to: ImageStatus,
  { holder, beside }: { holder?: string; beside?: Beside } = {},
): Promise<Change[]> {
  const columns = [...new Set(moves.flatMap(({ changes = {} }) => Object.keys(changes)))].sort();
  const live = Number(isLive(to));
  const received = Number(isReceived(to));
  const stored = Number(to === 'stored');
  const failed = Number(to === 'failed');
  const { rows } = (await prepared(
    db,
    `WITH wanted AS (
       SELECT "imageId" AS id, changes FROM jsonb_to_recordset(?::jsonb) AS wanted ("imageId" uuid, changes jsonb)
     ), held AS (
       SELECT images.id, images AS before, coalesce(images.size, 0) AS bytes,
              (images.status = ANY (?))::int AS live, (images.status = ANY (?))::int AS received,
              (images.status = 'stored')::int AS stored, (images.status = 'failed')::int AS failed
       FROM tickets JOIN images ON images.ticket_id = tickets.id
       -- Found by id and nothing else: "status = ANY" would let an index over statuses look better, which it does as long as
       -- the planner has not heard that thousands are under way. And by ids that it does not see: for a few of them it would
       -- make a plan of their own each time, which takes longer than all that is done by it.
       WHERE images.id = ANY (ARRAY(SELECT id FROM wanted)) AND array_position(?::text[], images.status) IS NOT NULL
         ${holder === undefined ? '' : 'AND images.holder IS NOT DISTINCT FROM ?'}
       ORDER BY tickets.id, images.id FOR NO KEY UPDATE OF tickets, images
     ), moved AS (
       UPDATE images SET status = ?, updated_at = now()${columns.map((column) => `, ${column} = new.${column}`).join('')}
       FROM held JOIN wanted USING (id), jsonb_populate_record(held.before, coalesce(wanted.changes, '{}')) AS new
       WHERE images.id = held.id RETURNING ${imageColumns.map((column) => `images.${column}`).join(', ')}
     ), changed AS (
       SELECT moved.id, ticket_id, staging, status, size, to_json(moved)::text AS image,
              ${live} - held.live AS claimed, ${received} - held.received AS received,
              ${stored} - held.stored AS stored, ${failed} - held.failed AS failed,
              ${live} * coalesce(size, 0) - held.live * bytes AS bytes_total,
              ${received} * coalesce(size, 0) - held.received * bytes AS bytes_received,
              ${stored} * coalesce(size, 0) - held.stored * bytes AS bytes_stored
       FROM moved JOIN held ON held.id = moved.id
     ), ${beside ? `beside AS (${beside.sql}),` : ''} ${countChanges('tickets', `${changedTicket} AS ticket, images, steps`, moves.length === 1)}
     SELECT ticket, '[' || array_to_string(images, ',') || ']' AS images, '[' || array_to_string(steps, ',') || ']' AS steps FROM counted`,
    [
      ...[JSON.stringify(moves), liveStatuses, receivedStatuses, from, ...(holder === undefined ? [] : [holder]), to],
      ...(beside?.bindings ?? []),
    ],
  )) as { rows: { ticket: TicketChanges['ticket']; images: string; steps: string }[] };
  return rows.flatMap(({ ticket, images, steps }) =>
    inTurn({ ticket, images: JSON.parse(images), steps: JSON.parse(steps) }).map(toChange),
  );
}
