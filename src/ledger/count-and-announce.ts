import { Image, Ticket } from '../database/models.ts';
import type { ImageStatus } from '../model/states.ts';

/** A change of an image, and its ticket as it stood after it. */
export type Change = { image: Image; ticket: Ticket };

/** What one statement changed in one ticket: the ticket after all of it, the images as they are now, and how each counts. */
export type TicketChanges = { ticket: TicketRow; images: Row[]; steps: number[][] };

type Row = Record<string, unknown>;
type TicketRow = Row & { version: number; expected: number };

/** The columns of a ticket in which images count; a step has a number for each. Beside them it is one version. */
export const counters = [
  'claimed',
  'received',
  'stored',
  'failed',
  'bytes_total',
  'bytes_received',
  'bytes_stored',
] as const;

/** An image as it is announced and answered: without `upload_metadata`, which may be as long as everything else. */
export const imageColumns = [
  ...['id', 'ticket_id', 'status', 'slot', 'size', 'staging', 'filename', 'expected_sha256', 'content_type', 'format'],
  ...[
    'width',
    'height',
    'orientation',
    'display_width',
    'display_height',
    'storage_width',
    'storage_height',
    'storage_format',
  ],
  ...['sha256', 'md5', 'attempts', 'error_code', 'error_message', 'storage_provider', 'storage_key'],
  ...['storage_asset_id', 'storage_version', 'url', 'created_at', 'updated_at', 'received_at', 'stored_at', 'holder'],
];

/** What `countChanges` announces, as its `returning` may say. */
export const changedTicket = "to_jsonb(tickets) - '{idempotency_key,idempotency_sha256}'::text[]";

/**
 * The end of every statement that changes images: counts the changes in their tickets and announces them on commit, one
 * version of the ticket for each image, in the order of their ids.
 *
 * Follows two things that the statement has: `changed` with the images (at least `id, ticket_id, staging, status, size`),
 * their `image` as JSON, and a column for each counter; and the tickets, locked. All of a ticket go in one announcement, and
 * only its end is written down: how it stood between them is for those to find out who listen (`inTurn`).
 *
 * @param before where the counters are read. The row that is updated (`tickets`) is good enough unless a constraint could be
 *   broken by what the statement's snapshot does not know yet: constraints are checked before Postgres notices that the row
 *   has changed since. Any other is a CTE with the rows as they were locked.
 * @param returning columns of `counted`: of `changes` (images, steps: arrays) and `tickets`
 * @param lone whether no more than one image can be in `changed`: nothing is gathered then, which takes a tenth of a lone
 *   image's statement
 */
export function countChanges(before: string, returning: string, lone: boolean): string {
  const sums = counters.map((column) => (lone ? column : `sum(${column}) AS ${column}`));
  const gather = (each: string) => (lone ? `ARRAY[${each}]` : `array_agg(${each})`);
  const added = counters.map((column) => `${column} = ${before}.${column} + changes.${column}`);
  return `changes AS (
       SELECT ticket_id, ${lone ? 1 : 'count(*)'} AS version, ${sums.join(', ')}, ${gather('image')} AS images,
              ${gather(`'["' || id || '",' || to_json(staging) || ',"' || status || '",' || coalesce(size::text, 'null') || ']'`)} AS headings,
              ${gather(`'[' || concat_ws(',', ${counters.join(', ')}) || ']'`)} AS steps
       FROM ${lone ? 'changed' : '(SELECT * FROM changed ORDER BY ticket_id, id) AS changed GROUP BY ticket_id'}
     ), counted AS (
       UPDATE tickets SET ${added.join(', ')}, version = ${before}.version + changes.version, updated_at = now(),
         completed_at = CASE WHEN ${before}.stored + changes.stored = tickets.expected THEN coalesce(completed_at, now()) END
       FROM changes${before === 'tickets' ? '' : ` JOIN ${before} ON ${before}.id = changes.ticket_id`}
       WHERE tickets.id = changes.ticket_id
       RETURNING ${returning}, announce(${changedTicket}, headings, images, steps)
     )`;
}

/** The changes one by one, with the ticket as it stood after each; for a change of the ticket alone, that. */
export function inTurn({ ticket, images, steps }: TicketChanges): { ticket: TicketRow; image: Row | null }[] {
  if (images.length === 0) return [{ ticket, image: null }];
  const changes = [];
  let after = ticket;
  for (const [nth, step] of [...steps.entries()].reverse()) {
    // The last steps may be those of images that another announcement has.
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

/** As the table computes it. */
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

/** A payload of `hopla_changes`: a line that says what it is about, so that only those are read that interest anybody. */
export type Announced = {
  ticketId: string;
  userId: string;
  headings: [imageId: string, staging: string, status: ImageStatus, size: number | null][];
  /** Reads the changes themselves. A ticket whose metadata makes it too long for a payload is without them. */
  read(): ReturnType<typeof inTurn>;
};

export function readAnnounced(payload: string): Announced {
  const end = payload.indexOf('\n');
  const [ticketId, userId, headings] = JSON.parse(payload.slice(0, end));
  return { ticketId, userId, headings, read: () => inTurn(JSON.parse(payload.slice(end + 1))) };
}
