import type { IncomingMessage } from 'node:http';
import { ERRORS } from '@tus/utils';
import type { Holders } from '../../cluster/ownership.ts';
import type { Image } from '../../database/models.ts';
import type { RateLimit } from '../../http/rate-limit.ts';
import type { Caller } from '../../identity/tokens.ts';
import { findPlaceTaken, type PlaceRequest } from '../../ledger/claim-slots.ts';
import { HoplaError } from '../../model/errors.ts';
import type { Places } from '../../tickets/places.ts';
import { type CreationDeps, createUpload, knownOffset, parseCreation, toPlaceRequest } from '../creation.ts';
import { refuse } from '../session/finish.ts';
import { withVerifiedBody } from '../session/verified-body.ts';
import { toUploadError } from './errors.ts';
import type { Exchange, StagingStore, StoreDeps } from './store.ts';
import { isOffsetStream, type UploadBody } from './upload-body.ts';

/*
 * Requests that bring bytes, or are about to, without the handlers of @tus/server, and so without the web streams, headers and
 * responses that those are made of: for a small image they cost more than all the rest, and of many slow ones each would keep
 * its own.
 */

/** How long a request that is asked to let go may still finish what it has: a lone last chunk, not a slow body. */
export const LOCK_DRAIN_MS = 500;

export type DirectDeps = Omit<StoreDeps, 'exchanges'> &
  CreationDeps & { holders: Holders; places: Places; creations: RateLimit };

/** The answer to one request, and whether the upload is complete with it. */
export type TusAnswer = { status: number; headers: Iterable<[string, string]>; finished: boolean };

/** POST: a new upload, or the one that the client already has in this slot, and what comes of it with the request. */
export async function createDirectly(
  deps: DirectDeps,
  store: StagingStore,
  exchange: Exchange,
  request: IncomingMessage,
): Promise<TusAnswer> {
  const creation = parseCreation(request.headers, deps.limits.bytes);
  const place = toPlaceRequest(deps, exchange.ticketId, creation);
  const { ticket, userId, ended: signal } = exchange;
  const verification = { userId, ticketId: ticket.id, limit: creation.size ?? deps.limits.bytes, signal };
  return deps.creations.charge(payerOf(exchange.caller), async () => {
    const isPlace = deps.places.enter(ticket);
    try {
      // Before a byte of the body is read. An image that has the slot already is found again by the claim.
      if (!isPlace) await findPlaceTaken(deps.db, place);
      return await withVerifiedBody(deps, request, verification, (body) =>
        createWith(deps, store, exchange, { place, isPlace }, body),
      );
    } finally {
      deps.places.leave(ticket);
    }
  });
}

/** Whose minute a creation is of. Each upload token has its own, so that no guest uses up that of the ticket's owner. */
function payerOf({ kind, tokenId, user }: Caller): string {
  return kind === 'upload' ? tokenId : user.id;
}

/** The new upload, with its bytes as they come. Where a place is not certain, it is claimed before they are written. */
async function createWith(
  deps: DirectDeps,
  store: StagingStore,
  exchange: Exchange,
  { place, isPlace }: { place: PlaceRequest; isPlace: boolean },
  body: UploadBody,
): Promise<TusAnswer> {
  const landed = isPlace ? await deps.wholes.receive(place, exchange.userId, body) : null;
  if (landed && !('claim' in landed)) return created(exchange, landed.imageId, landed.offset, place.size);
  exchange.staged = landed;
  try {
    const { kind, image } = await (landed ? landed.claim() : createUpload(deps, place, exchange.userId));
    exchange.image = image;
    exchange.imageId = image.id;
    const offset =
      kind === 'new' ? await receiveFirst(deps, store, exchange, image, body) : await knownOffset(deps.staging, image);
    return created(exchange, image.id, offset, image.size);
  } catch (error) {
    throw toUploadError(error, exchange.offset);
  } finally {
    await landed?.end();
  }
}

/** Takes what comes of an image that has its place now; resolves to where it stands then, or null when nothing was to come. */
async function receiveFirst(
  deps: DirectDeps,
  store: StagingStore,
  exchange: Exchange,
  image: Image,
  body: UploadBody,
): Promise<number | null> {
  await deps.reach('place.claimed');
  if (!isOffsetStream(body.headers)) {
    deps.intake.keep(image, 0);
    return null;
  }
  try {
    return await underLock(deps, exchange, image.id, body, (signal) =>
      store.receive(body, 0, signal).catch((error) => delay(exchange, error)),
    );
  } catch (error) {
    // Who gets no address can never finish: the place goes back.
    return refuse(deps, image, toUploadError(error, 0));
  }
}

/** PATCH: the next bytes of an upload. */
export async function continueDirectly(
  deps: DirectDeps,
  store: StagingStore,
  exchange: Exchange,
  request: IncomingMessage,
): Promise<TusAnswer> {
  const { imageId } = exchange;
  const { 'upload-offset': continues, 'upload-length': length } = request.headers;
  if (imageId === null) throw new HoplaError('upload-not-found');
  try {
    return await underLock(deps, exchange, imageId, request, async (signal) => {
      const { image, offset } = await store.goOn(imageId, Number(continues));
      if (offset !== Number(continues)) throw ERRORS.INVALID_OFFSET;
      if (length !== undefined) await declareLength(store, image, offset, String(length));
      const limit = (exchange.image?.size ?? deps.limits.bytes) - offset;
      const { userId, ticketId } = exchange;
      const reached = await withVerifiedBody(deps, request, { userId, ticketId, limit, signal }, (body) =>
        store.receive(body, offset, signal),
      );
      const headers: [string, string][] = [['Upload-Offset', `${reached}`]];
      return { status: 204, headers, finished: reached === exchange.image?.size };
    });
  } catch (error) {
    throw toUploadError(error, exchange.offset);
  }
}

/** tus-js-client repeats the length with every last piece, also when an earlier one broke off after declaring it. */
async function declareLength(store: StagingStore, image: Image, offset: number, length: string): Promise<void> {
  const size = /^\d{1,15}$/.test(length) ? Number(length) : Number.NaN;
  const allowed = image.size === null ? size >= offset : size === image.size;
  if (!allowed) throw new HoplaError('malformed-request', 'Upload-Length is not the length of this upload.');
  await store.declareUploadLength(image.id, size);
}

/** Alone with an upload; `signal` says when another request wants it, its token has ended, or the client has left. */
async function underLock<T>(
  { holders }: DirectDeps,
  { ended }: Exchange,
  imageId: string,
  body: UploadBody,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const letGo = new AbortController();
  const { signal } = letGo;
  body.once('error', () => letGo.abort());
  const end = () => letGo.abort(ended.reason);
  ended.addEventListener('abort', end);
  try {
    const lock = holders.locker.newLock(imageId);
    await lock.lock(signal, () => void setTimeout(() => letGo.abort(), LOCK_DRAIN_MS));
    try {
      return await run(signal);
    } finally {
      await lock.unlock();
    }
  } finally {
    ended.removeEventListener('abort', end);
  }
}

function created(
  { baseUrl, ticketId }: Exchange,
  imageId: string,
  offset: number | null,
  size: number | null,
): TusAnswer {
  const headers: [string, string][] = [['Location', `${baseUrl}/v1/tickets/${ticketId}/uploads/${imageId}`]];
  if (offset !== null) headers.push(['Upload-Offset', `${offset}`]);
  return { status: 201, headers, finished: offset !== null && offset === size };
}

/**
 * Where an upload stands that was just created, and broke off. It exists and the client must learn its address: an error that
 * may pass is told as an offset below the length, and the client comes back to this upload instead of creating another.
 */
function delay({ offset = 0, image }: Exchange, error: unknown): number {
  if (isFinal(error)) throw error;
  return image?.size ? Math.min(offset, image.size - 1) : offset;
}

/** True for what a client must hear at once: the upload is refused, not delayed. */
function isFinal(error: unknown): boolean {
  return error instanceof HoplaError && error.status !== 423 && error.status < 500;
}
