import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { HoplaError } from '../errors.ts';
import { toProblem } from './problem.ts';

export type HttpServer = {
  /** `http://host:port` as it listens. */
  url: string;
  /** Stops accepting, lets running requests end for `graceMs`, then cuts the rest. */
  close(graceMs: number): Promise<void>;
};

export type HttpServerOptions = { host: string; port: number; idleMs: number };

const HEADERS_MS = 20_000;
/** Longer than the usual 60 s of proxies, so that it is they who close an idle connection, and no request meets its end. */
const KEEP_ALIVE_MS = 65_000;

/** Listens; rejects when it cannot. */
export async function listen(handler: RequestListener, { host, port, idleMs }: HttpServerOptions): Promise<HttpServer> {
  const server = createServer({
    // Node's limit for a whole request would end slow uploads with a 408 that clients do not retry: silence is
    // bounded instead, below.
    requestTimeout: 0,
    headersTimeout: HEADERS_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 5_000,
  });
  server.timeout = idleMs;
  server.on('request', handler);
  server.on('clientError', refuseMalformed);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  return { url: urlOf(server), close: (graceMs) => close(server, graceMs) };
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

/** What Node's parser refuses never reaches the app; it gets the same kind of answer. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const tooLarge = error.code === 'HPE_HEADER_OVERFLOW';
  const requestId = randomUUID();
  const refusal = tooLarge
    ? new HoplaError('headers-too-large')
    : new HoplaError(
        'malformed-request',
        error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
          ? 'The request headers took too long.'
          : 'This is not a valid HTTP request.',
      );
  const { status, headers, body } = toProblem(refusal, requestId);
  const text = JSON.stringify(body);
  const lines = Object.entries({
    ...headers,
    'X-Request-Id': requestId,
    'Content-Length': Buffer.byteLength(text),
    Connection: 'close',
  });
  socket.end(
    `HTTP/1.1 ${status} ${tooLarge ? 'Request Header Fields Too Large' : 'Bad Request'}\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${text}`,
  );
}
