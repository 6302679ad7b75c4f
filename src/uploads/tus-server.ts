import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage } from 'node:http';
import { Server } from '@tus/server';
import { type CancellationContext, ERRORS, type Upload } from '@tus/utils';
import type { Image } from '../database/models.ts';
import { HoplaError } from '../errors.ts';
import { type CreationDeps, createUpload, knownOffset, parseCreation, toPlaceRequest } from './creation.ts';
import { refuse } from './finish.ts';
import type { Holders } from './holders.ts';
import { type Exchange, StagingStore, type StoreDeps } from './store.ts';
import { toUploadError } from './tus-errors.ts';

/** How long a request that is asked to let go may still finish what it has: a lone last chunk, not a slow body. */
const LOCK_DRAIN_MS = 500;

export type TusServerDeps = Omit<StoreDeps, 'exchanges'> & CreationDeps & { holders: Holders };

/** Which upload a request is about, and where its URLs begin. */
export type UploadAddress = Pick<Exchange, 'ticketId' | 'userId' | 'imageId' | 'baseUrl'>;

/** The answer to one request, and whether the upload is complete with it. */
export type TusAnswer = { status: number; headers: Iterable<[string, string]>; finished: boolean };

/** Answers one tus request; throws what the error table has for it. */
export type TusServer = (request: IncomingMessage, method: string, address: UploadAddress) => Promise<TusAnswer>;

/**
 * The tus protocol as @tus/server implements it, with our own way for the bytes: its handlers get the Node request
 * itself as body, and hand it to the staging store without a detour over web streams, which would cost half the speed.
 */
export function createTusServer(deps: TusServerDeps): TusServer {
  const exchanges = new AsyncLocalStorage<Exchange>();
  const store = new StagingStore({ ...deps, exchanges });
  const current = (): Exchange => {
    const exchange = exchanges.getStore();
    if (!exchange) throw new Error('a tus handler ran outside of a request');
    return exchange;
  };

  const server = new Server({
    path: '/',
    datastore: store,
    locker: deps.holders.locker,
    lockDrainTimeout: LOCK_DRAIN_MS,
    // For OPTIONS to tell. Of an upload the store looks at the size itself: one that is too large ends it.
    maxSize: (_request, imageId) => (imageId === null ? deps.maxImageBytes : 0),
    disableTerminationForFinishedUploads: false,
    namingFunction: () => current().imageId ?? '',
    getFileIdFromRequest: () => current().imageId ?? undefined,
    generateUrl: (_request, { id }) => uploadUrl(current(), id),
    // The mapping to an answer is ours, below; here the error is only caught before it turns into text.
    onResponseError: async (_request, error) => {
      current().failure = error;
      return undefined;
    },
  });
  receiveDirectly(server, store, current);
  claimBeforeCreation(server, deps, current);

  return async (request, method, address) => {
    const exchange: Exchange = { ...address };
    if (method === 'PATCH') return exchanges.run(exchange, () => continueDirectly(deps, store, exchange, request));
    const direct = method === 'POST' ? await createDirectly(deps, store, exchanges, exchange, request) : null;
    if (direct) return direct;
    const response = await exchanges.run(exchange, () => server.handleWeb(asWebRequest(request, method)));
    if (exchange.failure !== undefined) throw toUploadError(exchange.failure, exchange.offset);
    if (response.status >= 400)
      throw toUploadError({ status_code: response.status, body: await response.text() }, exchange.offset);
    const { image } = exchange;
    // "If an upload contains additional metadata, responses to HEAD requests MUST include the Upload-Metadata header and
    // its value as specified by the Client during the creation."
    if (method === 'HEAD' && image?.uploadMetadata) response.headers.set('Upload-Metadata', image.uploadMetadata);
    const finished = response.headers.get('Upload-Offset') === `${image?.size}`;
    return { status: response.status, headers: response.headers, finished };
  };
}

/** What the protocol is about. Of the rest @tus/server would refuse some that proxies add (`X-Forwarded-Proto: https,http`). */
const PROTOCOL_HEADER = /^(tus-resumable|upload-.+|content-(type|length))$/;

/** What the handlers use of a web `Request`; its body is the Node request, which only `receiveDirectly` reads. */
function asWebRequest(request: IncomingMessage, method: string): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (PROTOCOL_HEADER.test(name) && value) headers.set(name, String(value));
  }
  return {
    method,
    headers,
    url: `http://upload${request.url}`,
    body: request,
    runtime: { node: { req: request } },
  } as unknown as Request;
}

function uploadUrl({ baseUrl, ticketId }: Exchange, imageId: string): string {
  return `${baseUrl}/v1/tickets/${ticketId}/uploads/${imageId}`;
}

function receiveDirectly(server: Server, store: StagingStore, current: () => Exchange): void {
  const receive = (body: unknown, upload: Upload, _limit: number, context: CancellationContext) =>
    store.receive(body as IncomingMessage, upload.offset, context.signal);
  Object.assign(server.handlers.POST, {
    writeToStore: (...args: Parameters<typeof receive>) => receive(...args).catch((error) => delay(current(), error)),
  });
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

/**
 * An image that comes with its creation goes without the tus handler, and so without the web streams, headers and responses
 * that it is made of: for a small image those cost more than all the rest, and of many slow ones each would keep its own. Null
 * for every other creation.
 */
async function createDirectly(
  deps: TusServerDeps,
  store: StagingStore,
  exchanges: AsyncLocalStorage<Exchange>,
  exchange: Exchange,
  body: IncomingMessage,
): Promise<TusAnswer | null> {
  const creation = parseCreation(body.headers, deps.maxImageBytes);
  const place = toPlaceRequest(deps, exchange.ticketId, creation);
  const landed = await deps.wholes.receive(place, exchange.userId, body);
  if (landed && !('claim' in landed)) return created(exchange, landed.imageId, landed.offset, creation.size);
  exchange.creation = { place, staged: landed };
  if (!landed) return null;
  try {
    const { kind, image } = await landed.claim();
    exchange.image = image;
    exchange.imageId = image.id;
    const offset =
      kind === 'new'
        ? await exchanges.run(exchange, () => receiveRest(deps, store, exchange, image, body))
        : await knownOffset(deps.staging, image);
    return created(exchange, image.id, offset, image.size);
  } catch (error) {
    throw toUploadError(error, exchange.offset);
  } finally {
    await landed.end();
  }
}

/** Takes what is still to come of an image that has its place now; resolves to where it stands then. */
async function receiveRest(
  deps: TusServerDeps,
  store: StagingStore,
  exchange: Exchange,
  image: Image,
  body: IncomingMessage,
): Promise<number> {
  await deps.reach('place.claimed');
  try {
    return await underLock(deps, image.id, body, (signal) =>
      store.receive(body, 0, signal).catch((error) => delay(exchange, error)),
    );
  } catch (error) {
    // Who gets no address can never finish: the place goes back.
    return refuse(deps, image, toUploadError(error, 0));
  }
}

/** PATCH. The next bytes of an upload go without the tus handler, too, for the same reasons. */
async function continueDirectly(
  deps: TusServerDeps,
  store: StagingStore,
  exchange: Exchange,
  body: IncomingMessage,
): Promise<TusAnswer> {
  const { imageId } = exchange;
  const { 'upload-offset': continues, 'upload-length': length } = body.headers;
  if (imageId === null) throw new HoplaError('upload-not-found');
  try {
    return await underLock(deps, imageId, body, async (signal) => {
      const { image, offset } = await store.goOn(imageId, Number(continues));
      if (offset !== Number(continues)) throw ERRORS.INVALID_OFFSET;
      if (length !== undefined) await declareLength(store, image, offset, String(length));
      const reached = await store.receive(body, offset, signal);
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

/** Alone with an upload; `signal` says when another request wants it, or the client has left. */
async function underLock<T>(
  { holders }: TusServerDeps,
  imageId: string,
  body: IncomingMessage,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const letGo = new AbortController();
  const { signal } = letGo;
  body.once('error', () => letGo.abort());
  const lock = holders.locker.newLock(imageId);
  await lock.lock(signal, () => void setTimeout(() => letGo.abort(), LOCK_DRAIN_MS));
  try {
    return await run(signal);
  } finally {
    await lock.unlock();
  }
}

function created(exchange: Exchange, imageId: string, offset: number, size: number | null): TusAnswer {
  const headers = createdHeaders(uploadUrl(exchange, imageId), offset);
  return { status: 201, headers, finished: offset === size };
}

/** Any other creation takes its place in the ticket, or finds the upload it made before, ahead of the tus handler's own part. */
function claimBeforeCreation(server: Server, deps: TusServerDeps, current: () => Exchange): void {
  const handler = server.handlers.POST;
  const create = handler.send.bind(handler);
  handler.send = async (request, context, headers = new Headers()) => {
    const exchange = current();
    if (!exchange.creation) throw new Error('a creation was not looked at');
    const { kind, image } = await createUpload(deps, exchange.creation.place, exchange.userId);
    exchange.image = image;
    exchange.imageId = image.id;
    if (kind === 'new') {
      await deps.reach('place.claimed');
      // Who gets no address can never finish: the place goes back.
      const response = await create(request, context, headers).catch((error) =>
        refuse(deps, image, toUploadError(error, 0)),
      );
      if (exchange.offset === undefined) deps.intake.keep(image, 0);
      return response;
    }
    const known = createdHeaders(uploadUrl(exchange, image.id), await knownOffset(deps.staging, image));
    for (const [name, value] of known) headers.set(name, value);
    return new Response(null, { status: 201, headers });
  };
}

function createdHeaders(location: string, offset: number): [string, string][] {
  return [
    ['Location', location],
    ['Upload-Offset', `${offset}`],
  ];
}
