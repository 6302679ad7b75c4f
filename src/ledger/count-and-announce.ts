import { Image, Ticket } from '../database/models.ts';
import { type Statement, sql, text } from '../database/sql.ts';
import type { ImageStatus } from '../model/states.ts';

/** A change of an image, and its ticket as the ticket stood after that change. */
export type Change = { image: Image; ticket: Ticket };

/**
 * The changes that one statement made in one ticket: the ticket after all of them, the images as they are now, and for each
 * image a step: the numbers by which the image changed the ticket's `counters`.
 */
export type TicketChanges = { ticket: TicketRow; images: Row[]; steps: number[][] };

type Row = Record<string, unknown>;
type TicketRow = Row & { version: number; expected: number };

/** The columns of a ticket that count images and bytes, in the order of a step. Each step also adds one to `version`. */
const counters = ['claimed', 'received', 'stored', 'failed', 'bytes_total', 'bytes_received', 'bytes_stored'] as const;

/** The columns of an image in announcements and answers. `upload_metadata` may be as long as all others, and is left out. */
export const imageColumns = [
  ...['id', 'ticket_id', 'status', 'slot', 'size', 'staging', 'filename', 'expected_sha256', 'content_type', 'format'],
  ...['width', 'height', 'orientation', 'display_width', 'display_height'],
  ...['storage_width', 'storage_height', 'storage_format'],
  ...['sha256', 'md5', 'attempts', 'error_code', 'error_message', 'storage_provider', 'storage_key'],
  ...['storage_asset_id', 'storage_version', 'url', 'created_at', 'updated_at', 'received_at', 'stored_at', 'holder'],
];

/** The ticket as `countChanges` announces it, for its `returning`. */
export const changedTicket = sql`to_jsonb(tickets) - '{idempotency_key,idempotency_sha256}'::text[]`;

/**
 * The end of each statement that changes images: adds the changes to their tickets and announces them on commit. Each image
 * is one version of its ticket, in the order of the ids of the images.
 *
 * The statement must have two things before: a CTE `changed` with the images (`id, ticket_id, staging, status, size`), each
 * as JSON text in `image`, and a column for each counter; and the locks on the tickets. One announcement has all changes of
 * a ticket. Only the end state of the ticket is written; the listeners compute the states between the changes (`inTurn`).
 *
 * @param before the rows from which the counters are read. `tickets`, the updated rows, will do, unless a change that the
 *   snapshot does not know could break a constraint: Postgres checks constraints before it sees that the row has changed.
 *   Then `before` must be `open`, a CTE with the rows as the statement locked them.
 * @param returning columns of `counted`: of `changes` (`images` and `steps`, arrays of JSON text) and of `tickets`
 */
export function countChanges(before: 'tickets' | 'open', returning: Statement): Statement {
  const counted = text(before);
  const join = text(before === 'tickets' ? '' : `JOIN ${before} ON ${before}.id = changes.ticket_id`);
  return sql`changes AS (
      SELECT ticket_id, count(*) AS version, sum(claimed) AS claimed, sum(received) AS received, sum(stored) AS stored,
             sum(failed) AS failed, sum(bytes_total) AS bytes_total, sum(bytes_received) AS bytes_received,
             sum(bytes_stored) AS bytes_stored, array_agg(image) AS images,
             array_agg('["' || id || '",' || to_json(staging) || ',"' || status || '",' || coalesce(size::text, 'null') || ']')
               AS headings,
             array_agg('[' || concat_ws(',', claimed, received, stored, failed, bytes_total, bytes_received, bytes_stored) || ']')
               AS steps
      FROM (SELECT * FROM changed ORDER BY ticket_id, id) AS changed GROUP BY ticket_id
    ), counted AS (
      UPDATE tickets SET
        claimed = ${counted}.claimed + changes.claimed,
        received = ${counted}.received + changes.received,
        stored = ${counted}.stored + changes.stored,
        failed = ${counted}.failed + changes.failed,
        bytes_total = ${counted}.bytes_total + changes.bytes_total,
        bytes_received = ${counted}.bytes_received + changes.bytes_received,
        bytes_stored = ${counted}.bytes_stored + changes.bytes_stored,
        version = ${counted}.version + changes.version,
        updated_at = now(),
        completed_at = CASE WHEN ${counted}.stored + changes.stored = tickets.expected
                            THEN coalesce(completed_at, now()) END
      FROM changes ${join}
      WHERE tickets.id = changes.ticket_id
      RETURNING ${returning}, announce(${changedTicket}, headings, images, steps)
    )`;
}

/** The changes one by one, each with the ticket as it stood after that change. A change of the ticket alone has no image. */
export function inTurn({ ticket, images, steps }: TicketChanges): { ticket: TicketRow; image: Row | null }[] {
  if (images.length === 0) return [{ ticket, image: null }];
  const changes = [];
  let after = ticket;
  for (const [nth, step] of [...steps.entries()].reverse()) {
    // The last steps may be of images that another announcement has.
    const image = images[nth];
    if (image) changes.push({ ticket: after, image });
    after = undo(after, step);
  }
  return changes.reverse();
}

function undo(ticket: TicketRow, step: number[]): TicketRow {
  const before: TicketRow = { ...ticket, version: ticket.version - 1 };
  for (const [nth, column] of counters.entries()) before[column] = Number(ticket[column]) - (step[nth] ?? 0);
  before.status = statusOf(before);
  if (before.status !== 'completed') before.completed_at = null;
  return before;
}

/** The same rule as the generated column `tickets.status`. */
function statusOf({ expected, claimed, received, stored, expired }: TicketRow): string {
  if (stored === expected) return 'completed';
  if (received === expected) return 'processing';
  if (expired) return 'expired';
  return Number(claimed) > 0 ? 'uploading' : 'pending';
}

export function toChange({ ticket, image }: { ticket: Row; image: Row | null }): Change {
  if (!image) throw new Error('a transition is of an image');
  return { image: Image.fromJsonRow(image), ticket: Ticket.fromJsonRow(ticket) };
}

/** A payload of `hopla_changes`. Its first line has ticket, owner and headings, so that most processes parse no more. */
export type Announced = {
  ticketId: string;
  userId: string;
  headings: [imageId: string, staging: string, status: ImageStatus, size: number | null][];
  /** Parses the changes. A ticket whose metadata would make the payload too long comes without its metadata. */
  read(): ReturnType<typeof inTurn>;
};

export function readAnnounced(payload: string): Announced {
  const end = payload.indexOf('\n');
  const [ticketId, userId, headings] = JSON.parse(payload.slice(0, end));
  return { ticketId, userId, headings, read: () => inTurn(JSON.parse(payload.slice(end + 1))) };
}
