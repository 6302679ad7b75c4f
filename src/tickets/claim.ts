import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { liveStatuses } from '../database/states.ts';
import { HoplaError } from '../errors.ts';
import { type Change, type ChangeRow, toChange } from './transition.ts';

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
};

/** A new place, or the live upload that already has this slot. */
export type Place = { kind: 'claimed'; change: Change } | { kind: 'existing'; image: Image };

/** A slot can be given back between our attempt and our look; more often than this in a row is no accident. */
const TRIES = 5;

/**
 * Claims one place of a ticket: N+1 racing calls get exactly N.
 *
 * Throws `ticket-full`, `ticket-expired`, `slot-mismatch`, `ticket-not-found`.
 */
export async function claimPlace(db: Database, request: PlaceRequest): Promise<Place> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const change = await tryClaim(db, request);
    if (change) return { kind: 'claimed', change };
    const image = await findPlaceTaken(db, request);
    if (image) return { kind: 'existing', image };
  }
  throw new HoplaError('upload-locked', 'This slot changes hands too quickly; try again.', { retryAfterMs: 1000 });
}

/**
 * Why there is no place: the live upload that has the slot, or the reason as an error. Null when there is none (any
 * more). Throws what `claimPlace` throws.
 */
export async function findPlaceTaken(db: Database, request: PlaceRequest): Promise<Image | null> {
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

/** One atomic statement. Null when there is no place, or another live upload has the slot. */
async function tryClaim(db: Database, request: PlaceRequest): Promise<Change | null> {
  const { rows } = (await db
    .raw(
      `WITH place AS (
       UPDATE tickets SET claimed = claimed + 1, bytes_total = bytes_total + ?, version = version + 1, updated_at = now()
       WHERE id = ? AND claimed < expected AND NOT expired AND expires_at > now() RETURNING *
     ), placed AS (
       INSERT INTO images (id, ticket_id, slot, size, filename, upload_metadata, expected_sha256, staging, holder)
       SELECT ?, place.id, ?, ?, ?, ?, ?, ?, ? FROM place RETURNING *
     )
     SELECT to_jsonb(place) AS ticket, to_jsonb(placed) AS image, announce(to_jsonb(place), to_jsonb(placed))
     FROM place, placed`,
      [
        request.size ?? 0,
        request.ticketId,
        request.imageId,
        request.slot,
        request.size,
        request.filename,
        request.uploadMetadata,
        request.expectedSha256,
        request.staging,
        request.holder,
      ] as never,
    )
    .catch(nullOnTakenSlot)) as { rows: ChangeRow[] };
  return rows[0] ? toChange(rows[0]) : null;
}

function nullOnTakenSlot(error: unknown): { rows: ChangeRow[] } {
  if (error instanceof Error && 'constraint' in error && error.constraint === 'images_live_slot') return { rows: [] };
  throw error;
}
