import { randomUUIDv7 } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { Holders } from '../cluster/ownership.ts';
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { claimPlace, findPlaceTaken, type PlaceRequest } from '../ledger/claim-slots.ts';
import type { GroupedWrites } from '../ledger/grouped-writes.ts';
import { HoplaError } from '../model/errors.ts';
import type { ImageLimits } from '../model/image-limits.ts';
import { inMillions } from '../model/limit-words.ts';
import type { Staging } from '../staging/local/folder.ts';
import type { DailyImages } from '../tickets/quotas.ts';
import { invalidMetadata, parseMetadata, textOf } from './tus/metadata.ts';

/** What the headers of a tus creation request say. */
export type Creation = {
  size: number | null;
  slot: string | null;
  filename: string | null;
  sha256: string | null;
  metadata: string | null;
};

const SLOT_CHARS = 64;
const FILENAME_CHARS = 255;

/** Reads the headers of a creation request. Throws 4xx for what they must not say. */
export function parseCreation(headers: IncomingHttpHeaders, maxBytes: number): Creation {
  const metadata = single(headers['upload-metadata'])?.trim() || null;
  const values = parseMetadata(metadata);
  return {
    size: parseLength(headers, maxBytes),
    slot: parseSlot(textOf(values, 'slot')),
    filename: cleanFilename(values.get('filename')),
    sha256: parseSha256(textOf(values, 'sha256')),
    metadata,
  };
}

function parseLength(headers: IncomingHttpHeaders, maxBytes: number): number | null {
  const length = single(headers['upload-length']);
  const deferred = single(headers['upload-defer-length']);
  if (headers['upload-concat'] !== undefined)
    throw new HoplaError('malformed-request', 'Upload-Concat is not supported.');
  if ((length === null) === (deferred === null) || (deferred !== null && deferred !== '1')) {
    throw new HoplaError('malformed-request', 'Send either Upload-Length, or Upload-Defer-Length: 1.');
  }
  if (length === null) return null;
  // Of any number of digits: what is beyond every number here is too large, not malformed.
  if (!/^(0|[1-9]\d*)$/.test(length))
    throw new HoplaError('malformed-request', 'Upload-Length must be a whole number of bytes.');
  return assertSize(Number(length), maxBytes);
}

/** Checks a declared image size in bytes. */
export function assertSize(size: number, maxBytes: number): number {
  if (size === 0) throw new HoplaError('empty-image');
  if (size > maxBytes) throw imageTooLarge(size, maxBytes);
  return size;
}

/** @param size of all its bytes; null where they keep coming, and nobody said how many there are */
export function imageTooLarge(size: number | null, maxBytes: number): HoplaError {
  const { amount, limit } = inMillions(size ?? maxBytes * 2, maxBytes);
  const detail =
    size === null ? `An image has at most ${limit} MB.` : `The image has ${amount} MB; at most ${limit} MB are taken.`;
  return new HoplaError('image-too-large', detail, { members: { ...(size === null ? {} : { size }), maxBytes } });
}

function parseSlot(slot: string | null): string | null {
  if (slot === null) return null;
  if ([...slot].length > SLOT_CHARS) throw invalidMetadata('slot', `must have at most ${SLOT_CHARS} characters`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  if (/[\x00-\x1f\x7f]/.test(slot)) throw invalidMetadata('slot', 'must have no control characters');
  return slot;
}

function parseSha256(sha256: string | null): string | null {
  if (sha256 === null) return null;
  if (!/^[0-9a-f]{64}$/i.test(sha256)) throw invalidMetadata('sha256', 'must be 64 hexadecimal digits');
  return sha256.toLowerCase();
}

/** A name is for people to read: kept in part rather than refused. */
function cleanFilename(filename: Buffer | undefined): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is taken out
  const clean = (filename ?? '').toString().replace(/[\x00-\x1f\x7f\u2028\u2029]/g, '');
  return [...clean].slice(0, FILENAME_CHARS).join('').trim() || null;
}

function single(header: string | string[] | undefined): string | null {
  return (Array.isArray(header) ? header.join(',') : header) ?? null;
}

export type CreationDeps = {
  db: Database;
  staging: Staging;
  holders: Pick<Holders, 'claim'>;
  arrivals: GroupedWrites;
  dailyImages: DailyImages;
  limits: ImageLimits;
};

/** A place for a new upload, or the live upload that the client already has in this slot. */
export type Created = { kind: 'new' | 'existing'; image: Image };

/** What a creation asks its ticket for; its image gets a new id. */
export function toPlaceRequest(
  { staging, holders }: Pick<CreationDeps, 'staging' | 'holders'>,
  ticketId: string,
  creation: Creation,
): PlaceRequest {
  const { size, slot, filename, sha256, metadata } = creation;
  const imageId = randomUUIDv7();
  return {
    ...{ ticketId, imageId, slot, size, filename, uploadMetadata: metadata, expectedSha256: sha256 },
    ...{ staging: staging.id, holder: holders.claim(imageId), facts: null },
  };
}

/** An image that may come: there is room for it. `withdraw` gives back what was set aside, when no image came of it. */
export type Admission = { withdraw(): Promise<void> };

/**
 * Sets aside what a new image takes of the staging area (as the first step of it, where the length is not known yet) and of its
 * user's day. Throws `staging-full`, `user-staging-full`, `quota-exceeded`.
 *
 * @param userId the owner of the ticket, whoever uploads
 */
export async function admit(deps: CreationDeps, request: PlaceRequest, userId: string): Promise<Admission> {
  const { staging, dailyImages } = deps;
  const { imageId, ticketId, size } = request;
  try {
    await staging.reserve(imageId, { size, position: 0 }, { userId, ticketId });
    const giveBack = await dailyImages.take(userId);
    return {
      async withdraw() {
        staging.release(request.imageId);
        // Kept from it, the user has one image less today.
        await giveBack().catch(() => {});
      },
    };
  } catch (error) {
    staging.release(request.imageId);
    throw error;
  }
}

/** Claims a place of the ticket, with room for its image. Throws what `admit` and `claimPlace` throw. */
export async function createUpload(
  deps: CreationDeps,
  request: PlaceRequest,
  userId: string,
  admitted?: Admission,
): Promise<Created> {
  const admitNow = () =>
    admit(deps, request, userId).catch(async (error) => {
      // Who has the place already needs no room, and may be the very one who fills it; who gets none need not wait for it.
      const image = await findPlaceTaken(deps.db, request);
      if (image) return image;
      throw error;
    });
  const admission = admitted ?? (await admitNow());
  if (!('withdraw' in admission)) return { kind: 'existing', image: admission };
  let claimed = false;
  try {
    const { kind, image } = await claimPlace(deps.db, deps.arrivals.takePlace, request);
    claimed = kind === 'claimed';
    return { kind: claimed ? 'new' : 'existing', image };
  } finally {
    if (!claimed) await admission.withdraw();
  }
}

/** Where an upload found by its slot stands; below its length until it is committed. */
export async function knownOffset(staging: Staging, { id, status, size }: Image): Promise<number> {
  if (status !== 'uploading') return size ?? 0;
  const staged = (await staging.sizeOf(id)) ?? 0;
  return size === null ? staged : Math.min(staged, size - 1);
}
