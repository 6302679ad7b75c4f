import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { prepared } from '../database/prepared.ts';
import { type ImageStatus, isLive, isReceived, liveStatuses, receivedStatuses } from '../database/states.ts';

/** What a transition may write beside the status; keys are columns. */
export type ImageChanges = Partial<{
  size: number;
  filename: string | null;
  content_type: string | null;
  format: string | null;
  width: number | null;
  height: number | null;
  sha256: string;
  md5: string;
  attempts: number;
  error_code: string | null;
  error_message: string | null;
  storage_provider: string;
  storage_key: string;
  storage_asset_id: string | null;
  storage_version: string | null;
  url: string;
  received_at: Date;
  stored_at: Date;
}>;

export type Change = { image: Image; ticket: Ticket };

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
 */
export async function moveImages(
  db: Database,
  moves: { imageId: string; changes?: ImageChanges }[],
  from: readonly ImageStatus[],
  to: ImageStatus,
  holder?: string,
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
       SELECT images.id, images AS before,
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
       WHERE images.id = held.id RETURNING images.*
     ), steps AS (
       SELECT moved.id, moved.ticket_id, 1 AS version, ${live} - held.live AS claimed,
              ${received} - held.received AS received, ${stored} - held.stored AS stored, ${failed} - held.failed AS failed,
              ${live} * after - held.live * earlier AS bytes_total,
              ${received} * after - held.received * earlier AS bytes_received,
              ${stored} * after - held.stored * earlier AS bytes_stored
       FROM moved JOIN held ON held.id = moved.id,
            LATERAL (SELECT coalesce(moved.size, 0) AS after, coalesce((held.before).size, 0) AS earlier) AS bytes
     ), counted AS (
       UPDATE tickets SET
         ${counters.map((column) => `${column} = tickets.${column} + step.${column}`).join(', ')},
         completed_at = CASE WHEN tickets.stored + step.stored = expected THEN coalesce(completed_at, now()) END,
         updated_at = now()
       FROM (SELECT ticket_id, ${counters.map((column) => `sum(${column}) AS ${column}`).join(', ')}
             FROM steps GROUP BY ticket_id) AS step
       WHERE tickets.id = step.ticket_id RETURNING tickets.*
     ), later AS (
       SELECT id, ticket_id, ${counters.map((column) => `sum(${column}) OVER backwards - ${column} AS ${column}`).join(', ')}
       FROM steps WINDOW backwards AS (PARTITION BY ticket_id ORDER BY id DESC)
     ), shown AS (
       -- The ticket as it stood with this image, and before the later ones.
       SELECT later.id, CASE later.version WHEN 0 THEN to_jsonb(counted) ELSE to_jsonb(counted) || jsonb_build_object(
         ${counters.map((column) => `'${column}', counted.${column} - later.${column}`).join(', ')},
         'completed_at', CASE WHEN counted.stored - later.stored = expected THEN completed_at END,
         'status', CASE WHEN counted.stored - later.stored = expected THEN 'completed'
                        WHEN counted.received - later.received = expected THEN 'processing'
                        WHEN expired THEN 'expired' WHEN counted.claimed - later.claimed > 0 THEN 'uploading' ELSE 'pending' END
       ) END AS ticket
       FROM later JOIN counted ON counted.id = later.ticket_id
     )
     SELECT ticket, to_jsonb(moved) AS image, announce(ticket, to_jsonb(moved))
     FROM shown JOIN moved ON moved.id = shown.id ORDER BY moved.id`,
    [JSON.stringify(moves), liveStatuses, receivedStatuses, from, ...(holder === undefined ? [] : [holder]), to],
  )) as { rows: ChangeRow[] };
  return rows.map(toChange);
}

/** The columns of a ticket in which a transition of an image counts. */
const counters = [
  'version',
  'claimed',
  'received',
  'stored',
  'failed',
  'bytes_total',
  'bytes_received',
  'bytes_stored',
];

export type ChangeRow = { image: Record<string, unknown>; ticket: Record<string, unknown> };

/** Makes the models of a change that Postgres answered or announced as JSON. */
function toChange(row: ChangeRow): Change {
  return { image: Image.fromJsonRow(row.image), ticket: Ticket.fromJsonRow(row.ticket) };
}
