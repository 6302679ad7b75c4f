import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
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

/**
 * Moves one image from any of the states `from` to `to`, counts that in its ticket, and announces both on commit.
 *
 * One conditional statement: when the image is in another state (somebody did it already) nothing happens and the
 * answer is null, so repeating a transition is harmless. Locks the ticket before the image, as everything here does.
 *
 * @param holder when given, the process that must still be the image's holder: of another's upload nothing is moved
 */
export async function moveImage(
  db: Database,
  imageId: string,
  from: readonly ImageStatus[],
  to: ImageStatus,
  changes: ImageChanges = {},
  holder?: string | null,
): Promise<Change | null> {
  const columns = Object.entries(changes);
  const becomes = {
    live: Number(isLive(to)),
    received: Number(isReceived(to)),
    stored: Number(to === 'stored'),
    failed: Number(to === 'failed'),
  };
  const { rows } = (await db.raw(
    `WITH held AS (
       SELECT images.id, images.size,
              (images.status = ANY (?))::int AS live, (images.status = ANY (?))::int AS received,
              (images.status = 'stored')::int AS stored, (images.status = 'failed')::int AS failed
       FROM tickets JOIN images ON images.ticket_id = tickets.id
       WHERE images.id = ? AND images.status = ANY (?)${holder === undefined ? '' : ' AND images.holder IS NOT DISTINCT FROM ?'}
       FOR UPDATE OF tickets, images
     ), moved AS (
       UPDATE images SET status = ?, updated_at = now()${columns.map(() => ', ?? = ?').join('')}
       FROM held WHERE images.id = held.id RETURNING images.*
     ), counted AS (
       UPDATE tickets SET
         claimed = claimed + ? - held.live,
         received = tickets.received + ? - held.received,
         stored = tickets.stored + ? - held.stored,
         failed = tickets.failed + ? - held.failed,
         bytes_total = bytes_total + ? * coalesce(moved.size, 0) - held.live * coalesce(held.size, 0),
         bytes_received = bytes_received + ? * coalesce(moved.size, 0) - held.received * coalesce(held.size, 0),
         bytes_stored = bytes_stored + ? * coalesce(moved.size, 0) - held.stored * coalesce(held.size, 0),
         completed_at = CASE WHEN tickets.stored + ? - held.stored = expected THEN coalesce(completed_at, now()) END,
         version = version + 1,
         updated_at = now()
       FROM moved, held WHERE tickets.id = moved.ticket_id RETURNING tickets.*
     )
     SELECT to_jsonb(counted) AS ticket, to_jsonb(moved) AS image, announce(to_jsonb(counted), to_jsonb(moved))
     FROM counted, moved`,
    [
      liveStatuses,
      receivedStatuses,
      imageId,
      from,
      ...(holder === undefined ? [] : [holder]),
      to,
      ...columns.flat(),
      becomes.live,
      becomes.received,
      becomes.stored,
      becomes.failed,
      becomes.live,
      becomes.received,
      becomes.stored,
      becomes.stored,
    ] as never,
  )) as { rows: ChangeRow[] };
  return rows[0] ? toChange(rows[0]) : null;
}

export type ChangeRow = { image: Record<string, unknown>; ticket: Record<string, unknown> };

/** Makes the models of a change that Postgres answered or announced as JSON. */
function toChange(row: ChangeRow): Change {
  return { image: Image.fromJsonRow(row.image), ticket: Ticket.fromJsonRow(row.ticket) };
}
