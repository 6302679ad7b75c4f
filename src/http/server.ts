import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { HoplaError } from '../model/errors.ts';
import { continueOnRead } from './expectation.ts';
import { createPipeliningLimit } from './pipelining.ts';
import { toProblem } from './problem.ts';
import { watchSlowBodies } from './slow-bodies.ts';

export type HttpServer = {
  /** `http://host:port` as it listens. */
  url: string;
  /** Stops accepting, lets running requests end for `graceMs`, then cuts the rest. */
  close(graceMs: number): Promise<void>;
};

export type HttpServerOptions = {
  host: string;
  port: number;
  /** A connection on which nothing moves for so long is ended. */
  idleMs: number;
  /** A request body that is slower, over `idleMs`, is ended; 0 waits for every byte. */
  minBytesPerSecond?: number;
  /** How long a client may take for the headers of one request. */
  headersMs?: number;
  /** Goes with what is refused before any route sees it. */
  refusalHeaders?: Record<string, string>;
};

const HEADERS_MS = 20_000;
/** What is larger gets an answer that knows nothing of the request. The app's own limit is below. */
const MOST_HEADER_BYTES = 64 * 1024;
/** Longer than the usual 60 s of proxies, so that it is they who close an idle connection, and no request meets its end. */
const KEEP_ALIVE_MS = 65_000;

/** Listens; rejects when it cannot. */
export async function listen(handler: RequestListener, options: HttpServerOptions): Promise<HttpServer> {
  const { host, port, idleMs, minBytesPerSecond = 0, headersMs = HEADERS_MS, refusalHeaders = {} } = options;
  const server = createServer({
    // Node's limit for a whole request would end slow uploads with a 408 that clients do not retry: silence is
    // bounded instead, below.
    requestTimeout: 0,
    headersTimeout: headersMs,
    maxHeaderSize: MOST_HEADER_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: headersMs / 4,
    // Node's own answer to a missing one is bare; the app has a better one.
    requireHostHeader: false,
  });
  server.timeout = idleMs;
  const slowBodies = watchSlowBodies({ minBytesPerSecond, windowMs: idleMs });
  server.on('close', () => slowBodies.close());
  const answers = new WeakMap<Socket, ServerResponse>();
  const mayBegin = createPipeliningLimit();
  const handle: RequestListener = (request, response) => {
    if (!mayBegin(request, response)) return;
    const { socket } = request;
    answers.set(socket, response);
    response.on('close', () => answers.delete(socket));
    if (!isTarget(request.url ?? '')) return refuse(response, refusalHeaders);
    slowBodies.watch(request);
    handler(request, response);
  };
  server.on('request', handle);
  server.on('checkContinue', (request, response) => {
    continueOnRead(request, response);
    handle(request, response);
  });
  // RFC 9110 section 10.1.1: an expectation that we do not know may be refused with 417, and may be ignored.
  server.on('checkExpectation', handle);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const answer = answers.get(socket);
    // In the middle of an answer there is no room for another.
    const answering = answer?.headersSent && !answer.writableFinished;
    if (error.code === 'ECONNRESET' || !socket.writable || answering) socket.destroy();
    else socket.end(toWire(refusal(error.code, refusalHeaders)));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  }).catch((error) => {
    // A server that never listened is not closed either.
    slowBodies.close();
    throw toListenError(error, host, port);
  });
  return { url: urlOf(server), close: (graceMs) => close(server, graceMs) };
}

/** In the words of whoever started it, where there is something to do. */
function toListenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  if (error.code === 'EADDRINUSE')
    return new Error(
      `Port ${port} of ${host} is in use by another program. Stop that one, or take another port: PORT=${port + 1}`,
      { cause: error },
    );
  if (error.code === 'EACCES')
    return new Error(`Port ${port} of ${host} may not be opened by this user. Take one above 1023: PORT=8080`, {
      cause: error,
    });
  return error;
}

function urlOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo;
  const reachable =
    address === '0.0.0.0' || address === '::' ? 'localhost' : family === 'IPv6' ? `[${address}]` : address;
  return `http://${reachable}:${port}`;
}

async function close(server: Server, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await closed;
  clearTimeout(cut);
}

/** RFC 9112 section 3.2. Node lets through what it cannot parse, `http://[`, and then throws wherever the path is asked for. */
function isTarget(url: string): boolean {
  return url.startsWith('/') || url === '*' || (/^https?:\/\//i.test(url) && URL.canParse(url));
}

function refuse(response: ServerResponse, more: Record<string, string>): void {
  const { status, headers, text } = refusal(undefined, more);
  response.writeHead(status, headers).end(text);
}

/** What Node's parser refuses never reaches the app; it gets the same kind of answer. */
function refusal(code: string | undefined, more: Record<string, string>) {
  const requestId = randomUUID();
  const { status, headers, body } = toProblem(refusalOf(code), requestId);
  const text = JSON.stringify(body);
  const all = { ...headers, ...more, 'X-Request-Id': requestId, 'Content-Length': `${Buffer.byteLength(text)}` };
  return { status, headers: { ...all, Connection: 'close' }, text };
}

function toWire({ status, headers, text }: ReturnType<typeof refusal>): string {
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${head.join('')}\r\n${text}`;
}

function refusalOf(code: string | undefined): HoplaError {
  if (code === 'HPE_HEADER_OVERFLOW') return new HoplaError('headers-too-large');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT')
    return new HoplaError('malformed-request', 'The request headers took too long.');
  return new HoplaError('malformed-request', 'This is not a valid HTTP request.');
}
