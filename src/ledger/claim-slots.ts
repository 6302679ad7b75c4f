import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { prepared } from '../database/prepared.ts';
import { HoplaError } from '../model/errors.ts';
import { liveStatuses } from '../model/states.ts';
import { countChanges, counters, imageColumns } from './count-and-announce.ts';
import type { EnqueueTransfers } from './grouped-writes.ts';
import { type ReceivedFacts, receivedColumns } from './receive-images.ts';

/** What is known of an image when its upload is created. */
export type PlaceRequest = {
  ticketId: string;
  imageId: string;
  slot: string | null;
  /** Bytes; null when the client declares the length later. */
  size: number | null;
  filename: string | null;
  /** `Upload-Metadata` as it came, to be echoed to HEAD. */
  uploadMetadata: string | null;
  expectedSha256: string | null;
  staging: string;
  /** The process that receives it. */
  holder: string | null;
  /** Of an image that came whole with its creation, and is durable already: it takes its place as `received`. */
  facts: ReceivedFacts | null;
  /** The bytes of that, if they are at hand; see `ReceivedImage`. */
  content?: Buffer | null;
};

/** A new place, or the live upload that already has this slot. */
export type Place = { kind: 'claimed' | 'existing'; image: Image };

/** Takes a place for one image, see `claimPlaces`; null when there was none. */
export type TakePlace = (request: PlaceRequest) => Promise<Image | null>;

/** A place or a slot can be given back between our attempt and our look; more often than this in a row is a rush. */
const TRIES = 5;

/**
 * Claims one place of a ticket: N+1 racing calls get exactly N.
 *
 * Throws `ticket-full`, `ticket-expired`, `slot-mismatch`, `ticket-not-found`, and 423 `upload-locked` when the slot changes
 * hands all the time.
 */
export async function claimPlace(db: Database, takePlace: TakePlace, request: PlaceRequest): Promise<Place> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const claimed = await takePlace(request);
    if (claimed) return { kind: 'claimed', image: claimed };
    const existing = await findPlaceTaken(db, request);
    if (existing) return { kind: 'existing', image: existing };
  }
  // Whatever became free, others were faster: at each of our attempts it was full.
  if (request.slot === null) throw new HoplaError('ticket-full', 'Every place of this ticket is taken.');
  throw new HoplaError('upload-locked', 'This slot changes hands too quickly; try again.', { retryAfterMs: 1000 });
}

/**
 * Why there is no place: the live upload that has the slot, or the reason as an error. Null when there is none (any
 * more). Throws what `claimPlace` throws.
 */
export async function findPlaceTaken(db: Database, request: PlaceRequest): Promise<Image | null> {
  if (request.facts) {
    // A repeat of a claim whose answer was lost finds itself: under the ticket's lock, as that one has come to its end
    // then. Its file would be removed otherwise, and its COMMIT still get through.
    await Ticket.query(db).findById(request.ticketId).forNoKeyUpdate();
    const own = await Image.query(db).findById(request.imageId);
    if (own) return own;
  }
  // The ticket before the slot: two requests for one slot may race for the last place, and then the other one has taken
  // both at once. The loser, who found the slot empty first, would be told that the ticket is full.
  const ticket = await Ticket.query(db).findById(request.ticketId);
  if (request.slot !== null) {
    const image = await Image.query(db)
      .findOne({ ticket_id: request.ticketId, slot: request.slot })
      .whereIn('status', liveStatuses);
    if (image) return sameImage(image, request);
  }
  if (!ticket) throw new HoplaError('ticket-not-found');
  if (ticket.expired || ticket.expiresAt.getTime() <= Date.now()) throw new HoplaError('ticket-expired');
  if (ticket.claimed >= ticket.expected) {
    throw new HoplaError('ticket-full', `This ticket takes ${ticket.expected} images, and every place is taken.`);
  }
  return null;
}

/**
 * The image that has the slot, as far as anybody can tell the one that the client means. To a client that means another
 * photo of that size, our answer would acknowledge bytes that nobody keeps.
 */
function sameImage(image: Image, request: PlaceRequest): Image {
  const slot = `Slot ${JSON.stringify(request.slot)}`;
  if (image.size !== request.size)
    throw new HoplaError('slot-mismatch', `${slot} holds an image of ${image.size ?? 'unknown'} bytes.`);
  const known = image.sha256 ?? image.expectedSha256;
  const meant = request.facts?.sha256 ?? request.expectedSha256;
  if (known !== null && meant !== null && known !== meant)
    throw new HoplaError('slot-mismatch', `${slot} holds an image with another SHA-256.`);
  return image;
}

/**
 * Claims places for many images in one atomic statement, and resolves to the images that got one: in their order as long
 * as their ticket has places, and only where no other live upload has the slot. Each claim is one version of its ticket.
 * The transfers of those that are received with it are queued.
 *
 * Locks the tickets in the order of their ids, before any image.
 */
export async function claimPlaces(db: Database, requests: PlaceRequest[], enqueue: EnqueueTransfers): Promise<Image[]> {
  const asked = new Map<string, number>();
  const wanted = requests.map(({ facts, content: _, ...request }) => {
    const turn = (asked.get(request.ticketId) ?? 0) + 1;
    asked.set(request.ticketId, turn);
    return { ...request, ...(facts ? receivedColumns(facts) : {}), status: facts ? 'received' : 'uploading', turn };
  });
  const source = rowsOf(wanted);
  const lone = wanted.length === 1;
  const queued = requests.some(({ facts }) => facts)
    ? enqueue("(SELECT * FROM placed WHERE status = 'received') AS received")
    : null;
  const { rows } = (await prepared(
    db,
    `WITH wanted AS (
       ${source.sql}
     ), open AS (
       SELECT id, expected, version, ${counters.join(', ')} FROM tickets
       -- By ids that the planner does not see, so that it keeps one plan (transition.ts).
       WHERE id = ANY (ARRAY(SELECT "ticketId" FROM wanted)) AND NOT expired AND expires_at > now()
       ${lone ? '' : 'ORDER BY id'} FOR NO KEY UPDATE
     ), placed AS (
       INSERT INTO images (id, ticket_id, status, slot, size, filename, upload_metadata, expected_sha256, staging, holder,
                           sha256, content_type, format, width, height, orientation, display_width, display_height,
                           received_at)
       SELECT "imageId", "ticketId", status, slot, size, filename, "uploadMetadata", "expectedSha256", staging, holder,
              sha256, content_type, format, width, height, orientation, display_width, display_height,
              CASE status WHEN 'received' THEN now() END
       FROM wanted JOIN open ON open.id = "ticketId" AND turn <= expected - claimed ${lone ? '' : 'ORDER BY turn'}
       ON CONFLICT DO NOTHING RETURNING ${imageColumns.join(', ')}
     ), changed AS (
       SELECT id, ticket_id, staging, status, size, to_json(placed)::text AS image, 1 AS claimed, here AS received,
              0 AS stored, 0 AS failed, bytes AS bytes_total, here * bytes AS bytes_received, 0 AS bytes_stored
       FROM placed, LATERAL (SELECT coalesce(size, 0) AS bytes, (status = 'received')::int AS here) AS counts
     ), ${queued ? `queued AS (${queued.sql}),` : ''} ${countChanges('open', 'images', lone)}
     SELECT '[' || array_to_string(images, ',') || ']' AS images FROM counted`,
    [...source.bindings, ...(queued?.bindings ?? [])],
  )) as { rows: { images: string }[] };
  return rows.flatMap(({ images }) =>
    (JSON.parse(images) as Record<string, unknown>[]).map((image) => Image.fromJsonRow(image)),
  );
}

/** What is known of an image whose place is claimed, as the statement has it; `turn` is its number among those of its ticket. */
const wantedColumns = {
  ...{ turn: 'int', imageId: 'uuid', ticketId: 'uuid', status: 'text', slot: 'text', size: 'bigint', filename: 'text' },
  ...{ uploadMetadata: 'text', expectedSha256: 'text', staging: 'text', holder: 'text', sha256: 'text' },
  ...{ content_type: 'text', format: 'text', width: 'int', height: 'int' },
  ...{ orientation: 'smallint', display_width: 'int', display_height: 'int' },
};

type Wanted = { [column in keyof typeof wantedColumns]?: unknown };

/** SQL of a query for the rows: a lone one as it is, as Postgres takes longer for one of JSON; many as that. */
function rowsOf(wanted: Wanted[]): { sql: string; bindings: unknown[] } {
  const columns = Object.entries(wantedColumns);
  const [first] = wanted;
  if (first && wanted.length === 1) {
    return {
      sql: `SELECT ${columns.map(([name, type]) => `?::${type} AS "${name}"`).join(', ')}`,
      bindings: columns.map(([name]) => first[name as keyof Wanted] ?? null),
    };
  }
  const types = columns.map(([name, type]) => `"${name}" ${type}`).join(', ');
  return {
    sql: `SELECT * FROM json_to_recordset(?::json) AS wanted (${types})`,
    bindings: [JSON.stringify(wanted)],
  };
}
