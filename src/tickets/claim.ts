import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { prepared } from '../database/prepared.ts';
import { liveStatuses } from '../database/states.ts';
import { HoplaError } from '../errors.ts';
import { type ReceivedFacts, receivedColumns } from './receive.ts';

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
  if (request.slot !== null) {
    const image = await Image.query(db)
      .findOne({ ticket_id: request.ticketId, slot: request.slot })
      .whereIn('status', liveStatuses);
    if (image) return sameSize(image, request);
  }
  const ticket = await Ticket.query(db).findById(request.ticketId);
  if (!ticket) throw new HoplaError('ticket-not-found');
  if (ticket.expired || ticket.expiresAt.getTime() <= Date.now()) throw new HoplaError('ticket-expired');
  if (ticket.claimed >= ticket.expected) {
    throw new HoplaError('ticket-full', `This ticket takes ${ticket.expected} images, and every place is taken.`);
  }
  return null;
}

function sameSize(image: Image, request: PlaceRequest): Image {
  if (image.size === request.size) return image;
  throw new HoplaError(
    'slot-mismatch',
    `Slot ${JSON.stringify(request.slot)} holds an image of ${image.size ?? 'unknown'} bytes.`,
  );
}

/**
 * Claims places for many images in one atomic statement, and resolves to the images that got one: in their order as long
 * as their ticket has places, and only where no other live upload has the slot. Each claim is one version of its ticket.
 *
 * Locks the tickets in the order of their ids, before any image.
 */
export async function claimPlaces(db: Database, requests: PlaceRequest[]): Promise<Image[]> {
  const wanted = requests.map(({ facts, ...request }, nth) => ({
    ...request,
    ...(facts ? receivedColumns(facts) : {}),
    status: facts ? 'received' : 'uploading',
    nth,
  }));
  const { rows } = (await prepared(
    db,
    `WITH wanted AS (
       SELECT * FROM json_to_recordset(?::json) AS wanted (
         nth int, "imageId" uuid, "ticketId" uuid, status text, slot text, size bigint, filename text, "uploadMetadata" text,
         "expectedSha256" text, staging text, holder text, sha256 text, content_type text, format text, width int, height int)
     ), open AS (
       SELECT id, expected, claimed, received, bytes_total, bytes_received, version FROM tickets
       WHERE id IN (SELECT "ticketId" FROM wanted) AND NOT expired AND expires_at > now()
       ORDER BY id FOR NO KEY UPDATE
     ), ordered AS (
       SELECT *, row_number() OVER (PARTITION BY "ticketId" ORDER BY nth) AS turn FROM wanted
     ), placed AS (
       INSERT INTO images (id, ticket_id, status, slot, size, filename, upload_metadata, expected_sha256, staging, holder,
                           sha256, content_type, format, width, height, received_at)
       SELECT "imageId", "ticketId", status, slot, size, filename, "uploadMetadata", "expectedSha256", staging, holder,
              sha256, content_type, format, width, height, CASE status WHEN 'received' THEN now() END
       FROM ordered JOIN open ON open.id = "ticketId" AND turn <= expected - claimed ORDER BY nth
       ON CONFLICT DO NOTHING RETURNING *
     ), numbered AS (
       SELECT id, ticket_id, row_number() OVER backwards - 1 AS later,
              count(*) FILTER (WHERE status = 'received') OVER backwards - (status = 'received')::int AS received_later,
              coalesce(sum(size) OVER backwards, 0) - coalesce(size, 0) AS bytes_later,
              coalesce(sum(size) FILTER (WHERE status = 'received') OVER backwards, 0)
                - CASE status WHEN 'received' THEN size ELSE 0 END AS bytes_received_later
       FROM placed WINDOW backwards AS (PARTITION BY ticket_id ORDER BY id DESC)
     ), counted AS (
       UPDATE tickets SET
         claimed = open.claimed + new.images, received = open.received + new.received,
         bytes_total = open.bytes_total + new.bytes, bytes_received = open.bytes_received + new.bytes_received,
         version = open.version + new.images, updated_at = now()
       -- From the locked row: constraints are checked against what the statement's snapshot gives before Postgres notices
       -- that the row has changed since.
       FROM open JOIN (
         SELECT ticket_id, count(*) AS images, count(*) FILTER (WHERE status = 'received') AS received,
                coalesce(sum(size), 0) AS bytes, coalesce(sum(size) FILTER (WHERE status = 'received'), 0) AS bytes_received
         FROM placed GROUP BY ticket_id
       ) AS new ON new.ticket_id = open.id
       WHERE tickets.id = open.id RETURNING tickets.*
     )
     SELECT image, announce(
       -- As the ticket stood with this image, and before the later ones.
       CASE later WHEN 0 THEN to_jsonb(counted) ELSE to_jsonb(counted) || jsonb_build_object(
         'version', version - later, 'claimed', claimed - later, 'received', received - received_later,
         'bytes_total', bytes_total - bytes_later, 'bytes_received', bytes_received - bytes_received_later,
         'status', 'uploading') END,
       image)
     FROM (SELECT id, ticket_id, to_jsonb(placed) AS image FROM placed) AS shown
     JOIN numbered USING (id) JOIN counted ON counted.id = shown.ticket_id ORDER BY shown.id`,
    [JSON.stringify(wanted)],
  )) as { rows: { image: Record<string, unknown> }[] };
  return rows.map(({ image }) => Image.fromJsonRow(image));
}
