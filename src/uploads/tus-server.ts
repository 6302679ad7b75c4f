import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage } from 'node:http';
import { Server } from '@tus/server';
import type { CancellationContext, Upload } from '@tus/utils';
import { createUpload, knownOffset } from './creation.ts';
import {
  continueDirectly,
  createDirectly,
  createdHeaders,
  type DirectDeps,
  delay,
  LOCK_DRAIN_MS,
  type TusAnswer,
  uploadUrl,
} from './direct.ts';
import { refuse } from './finish.ts';
import { type Exchange, StagingStore } from './store.ts';
import { toUploadError } from './tus-errors.ts';

/** Which upload a request is about, and where its URLs begin. */
export type UploadAddress = Pick<Exchange, 'ticketId' | 'userId' | 'imageId' | 'baseUrl'>;

/** Answers one tus request; throws what the error table has for it. */
export type TusServer = (request: IncomingMessage, method: string, address: UploadAddress) => Promise<TusAnswer>;

/**
 * The tus protocol as @tus/server implements it, but for nearly all that brings bytes (direct.ts). The one handler that still
 * does, for the beginning of an image that comes with its creation, gets the Node request itself as body, and hands it to the
 * staging store without a detour over web streams.
 */
export function createTusServer(deps: DirectDeps): TusServer {
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

function receiveDirectly(server: Server, store: StagingStore, current: () => Exchange): void {
  const receive = (body: unknown, upload: Upload, _limit: number, context: CancellationContext) =>
    store.receive(body as IncomingMessage, upload.offset, context.signal);
  Object.assign(server.handlers.POST, {
    writeToStore: (...args: Parameters<typeof receive>) => receive(...args).catch((error) => delay(current(), error)),
  });
}

/** Any other creation takes its place in the ticket, or finds the upload it made before, ahead of the tus handler's own part. */
function claimBeforeCreation(server: Server, deps: DirectDeps, current: () => Exchange): void {
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
