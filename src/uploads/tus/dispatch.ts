import { AsyncLocalStorage } from 'node:async_hooks';
import type { IncomingMessage } from 'node:http';
import { Server } from '@tus/server';
import type { TokenWatch } from '../../identity/token-watch.ts';
import { HoplaError } from '../../model/errors.ts';
import { CHECKSUM_ALGORITHMS } from '../session/checksum.ts';
import {
  continueDirectly,
  createDirectly,
  type DirectDeps,
  LOCK_DRAIN_MS,
  type TusAnswer,
} from './create-and-append.ts';
import { toUploadError } from './errors.ts';
import { type Exchange, StagingStore } from './store.ts';

/** Which upload a request is about, who sends it, and where its URLs begin. */
export type UploadAddress = Pick<Exchange, 'ticketId' | 'userId' | 'ticket' | 'caller' | 'imageId' | 'baseUrl'>;

/** Answers one tus request; throws what the error table has for it. */
export type TusServer = (request: IncomingMessage, method: string, address: UploadAddress) => Promise<TusAnswer>;

/** The tus protocol as @tus/server implements it, but for what brings bytes or is about to (direct.ts). */
export function createTusServer(deps: DirectDeps & { tokens: TokenWatch }): TusServer {
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
    // For OPTIONS to tell.
    maxSize: () => deps.limits.bytes,
    disableTerminationForFinishedUploads: false,
    getFileIdFromRequest: () => current().imageId ?? undefined,
    // The mapping to an answer is ours, below; here the error is only caught before it turns into text.
    onResponseError: async (_request, error) => {
      current().failure = error;
      return undefined;
    },
  });

  return async (request, method, address) => {
    const ending = new AbortController();
    const exchange: Exchange = { ...address, ended: ending.signal };
    const direct = { POST: createDirectly, PATCH: continueDirectly }[method];
    if (direct) {
      const unwatch = deps.tokens.watch(address.caller.tokenId, () =>
        ending.abort(new HoplaError('unauthorized', 'The token has ended.')),
      );
      return exchanges.run(exchange, () => direct(deps, store, exchange, request)).finally(unwatch);
    }
    const response = await exchanges.run(exchange, () => server.handleWeb(asWebRequest(request, method)));
    if (exchange.failure !== undefined) throw toUploadError(exchange.failure, exchange.offset);
    if (response.status >= 400)
      throw toUploadError({ status_code: response.status, body: await response.text() }, exchange.offset);
    const { image } = exchange;
    // "If an upload contains additional metadata, responses to HEAD requests MUST include the Upload-Metadata header and
    // its value as specified by the Client during the creation."
    if (method === 'HEAD' && image?.uploadMetadata) response.headers.set('Upload-Metadata', image.uploadMetadata);
    if (method === 'OPTIONS') {
      response.headers.set('Tus-Checksum-Algorithm', CHECKSUM_ALGORITHMS);
      return { status: 200, headers: response.headers, finished: false };
    }
    const finished = response.headers.get('Upload-Offset') === `${image?.size}`;
    return { status: response.status, headers: response.headers, finished };
  };
}

/**
 * What the handlers use of a web `Request`. Of its headers @tus/server would refuse some that HEAD and DELETE have no need of: those
 * of proxies (`X-Forwarded-Proto: https,http`), or metadata with blanks, which Uppy's `setHeader` puts on every request.
 */
function asWebRequest(request: IncomingMessage, method: string): Request {
  const version = request.headers['tus-resumable'];
  const headers = new Headers(version === undefined ? {} : { 'Tus-Resumable': String(version) });
  return {
    method,
    headers,
    url: `http://upload${request.url}`,
    runtime: { node: { req: request } },
  } as unknown as Request;
}
