import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { prepared, sql, text } from '../database/sql.ts';
import { HoplaError } from '../model/errors.ts';
import { liveStatuses } from '../model/states.ts';
import { countChanges, imageColumns } from './count-and-announce.ts';
import type { EnqueueTransfers } from './enqueue.ts';
import { type ReceivedFacts, receivedColumns } from './received-image.ts';

/** The facts of an image at the creation of its upload. */
export type PlaceRequest = {
  ticketId: string;
  imageId: string;
  slot: string | null;
  /** Bytes; null when the client declares the length later. */
  size: number | null;
  filename: string | null;
  /** `Upload-Metadata` as the client sent it, which HEAD answers. */
  uploadMetadata: string | null;
  expectedSha256: string | null;
  staging: string;
  /** The process that receives the upload. */
  holder: string | null;
  /** Set for a one-shot upload, which is durable already: the image takes its place as `received`. */
  facts: ReceivedFacts | null;
  /** All bytes of a one-shot upload, while they are in memory; see `ReceivedImage`. */
  content?: Buffer | null;
};

/** A new place, or the live upload that has this slot already. */
export type Place = { kind: 'claimed' | 'existing'; image: Image };

/** Takes a place for one image, see `claimPlaces`; null when the ticket had none, or the slot was taken. */
export type TakePlace = (request: PlaceRequest) => Promise<Image | null>;

/** A place or a slot may become free between the attempt and the look. After so many attempts other uploads are faster. */
const TRIES = 5;

/**
 * Claims one place of a ticket: N + 1 racing calls get exactly N places.
 *
 * Throws `ticket-full`, `ticket-expired`, `slot-mismatch`, `ticket-not-found`, and 423 `upload-locked` for a slot that
 * changes hands at every attempt.
 */
export async function claimPlace(db: Database, takePlace: TakePlace, request: PlaceRequest): Promise<Place> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const claimed = await takePlace(request);
    if (claimed) return { kind: 'claimed', image: claimed };
    const existing = await findPlaceTaken(db, request);
    if (existing) return { kind: 'existing', image: existing };
  }
  // The ticket was full at each attempt: other uploads took every place that became free.
  if (request.slot === null) throw new HoplaError('ticket-full', 'Every place of this ticket is taken.');
  throw new HoplaError('upload-locked', 'This slot changes hands too quickly; try again.', { retryAfterMs: 1000 });
}

/**
 * Finds out why an image got no place: resolves to the live upload that has the slot, throws the other reasons, and
 * resolves to null when a place is free by now.
 *
 * Throws `ticket-full`, `ticket-expired`, `slot-mismatch` and `ticket-not-found`.
 */
export async function findPlaceTaken(db: Database, request: PlaceRequest): Promise<Image | null> {
  if (request.facts) {
    // A repeated claim, whose first answer was lost, finds its own row. The ticket's lock waits for the end of the first
    // claim: without the lock, the file would be removed here, and the first COMMIT could still succeed after that.
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
 * Claims places for many images in one atomic statement. An image gets a place as long as its ticket has places, in the
 * order of the requests, and only if no other live upload has its slot. Each claimed place is one version of its ticket.
 * The statement also queues the transfers of the images that came with their creation. Resolves to the images with a place.
 *
 * The statement locks the tickets in the order of their ids, before any image.
 */
export async function claimPlaces(db: Database, requests: PlaceRequest[], enqueue: EnqueueTransfers): Promise<Image[]> {
  const asked = new Map<string, number>();
  const wanted = requests.map(({ facts, content: _, ...request }) => {
    const turn = (asked.get(request.ticketId) ?? 0) + 1;
    asked.set(request.ticketId, turn);
    return { ...request, ...(facts ? receivedColumns(facts) : {}), status: facts ? 'received' : 'uploading', turn };
  });
  const queued = requests.some(({ facts }) => facts)
    ? sql`queued AS (${enqueue(sql`(SELECT * FROM placed WHERE status = 'received') AS received`)}),`
    : sql``;
  const rows = await prepared(
    db,
    sql<{ images: string }>`
    WITH wanted AS (
      SELECT * FROM json_to_recordset(${JSON.stringify(wanted)}::json) AS wanted (
        turn int, "imageId" uuid, "ticketId" uuid, status text, slot text, size bigint, filename text,
        "uploadMetadata" text, "expectedSha256" text, staging text, holder text, sha256 text, content_type text,
        format text, width int, height int, orientation smallint, display_width int, display_height int
      )
    ), open AS (
      SELECT id, expected, version, claimed, received, stored, failed, bytes_total, bytes_received, bytes_stored
      FROM tickets
      -- The planner does not see these ids, so that it keeps one plan (move-images.ts).
      WHERE id = ANY (ARRAY(SELECT "ticketId" FROM wanted)) AND NOT expired AND expires_at > now()
      ORDER BY id FOR NO KEY UPDATE
    ), placed AS (
      INSERT INTO images (id, ticket_id, status, slot, size, filename, upload_metadata, expected_sha256, staging, holder,
                          sha256, content_type, format, width, height, orientation, display_width, display_height,
                          received_at)
      SELECT "imageId", "ticketId", status, slot, size, filename, "uploadMetadata", "expectedSha256", staging, holder,
             sha256, content_type, format, width, height, orientation, display_width, display_height,
             CASE status WHEN 'received' THEN now() END
      FROM wanted JOIN open ON open.id = "ticketId" AND turn <= expected - claimed
      ORDER BY turn
      ON CONFLICT DO NOTHING RETURNING ${text(imageColumns.join(', '))}
    ), changed AS (
      SELECT id, ticket_id, staging, status, size, to_json(placed)::text AS image, 1 AS claimed, here AS received,
             0 AS stored, 0 AS failed, bytes AS bytes_total, here * bytes AS bytes_received, 0 AS bytes_stored
      FROM placed, LATERAL (SELECT coalesce(size, 0) AS bytes, (status = 'received')::int AS here) AS counts
    ), ${queued} ${countChanges('open', sql`images`)}
    SELECT '[' || array_to_string(images, ',') || ']' AS images FROM counted`,
  );
  return rows.flatMap(({ images }) =>
    (JSON.parse(images) as Record<string, unknown>[]).map((image) => Image.fromJsonRow(image)),
  );
}
