import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Middleware } from 'koa';
import { HoplaError } from '../model/errors.ts';

/**
 * The values of a header, one for each line that has it, where Node keeps one of them only. `headersDistinct` would make an
 * array of every header, for as long as the request lasts.
 *
 * @param name in lower case
 */
export function headerLines({ rawHeaders }: IncomingMessage, name: string): string[] {
  const lines: string[] = [];
  for (let n = 0; n < rawHeaders.length; n += 2) {
    const own = rawHeaders[n] ?? '';
    if (own.length === name.length && own.toLowerCase() === name) lines.push(rawHeaders[n + 1] ?? '');
  }
  return lines;
}

/** RFC 9110 section 5.6.2: the name of a field, among others. */
export const TOKEN = /^[\w!#$%&'*+.^`|~-]{1,100}$/;

/** A name or an address, and a port. */
const HOST = /^(\[[\da-f:.]+\]|[\w.~-]+)(:\d{1,5})?$/i;

/** Refuses a request that does not say to whom it goes: addresses in answers are made of that. */
export const checkHost: Middleware = (ctx, next) => {
  const { headers, httpVersion, socket } = ctx.req;
  // RFC 9112 section 3.2: HTTP/1.0 may come without; then it is known by the address it came to.
  if (!headers.host && httpVersion === '1.0') {
    const address = socket.localFamily === 'IPv6' ? `[${socket.localAddress}]` : socket.localAddress;
    headers.host = `${address}:${socket.localPort}`;
  }
  // "A server MUST respond with a 400 status code to any HTTP/1.1 request message that lacks a Host header field and to
  // any request message that contains more than one Host header field line or an invalid field value."
  const lines = headerLines(ctx.req, 'host');
  const names = [...(lines.length > 0 ? lines : [headers.host ?? '']), ctx.host];
  if (names.length > 2 || !names.every((name) => HOST.test(name)))
    throw new HoplaError('malformed-request', 'Send one valid Host header.');
  return next();
};

/** As much as most servers and proxies take. Node's own limit is larger, so that the refusal is like any other (server.ts). */
const MOST_HEADER_CHARS = 16 * 1024;

/** Refuses, before anything looks at them, headers that are too large and an address that nobody can decode. */
export const checkRequest: Middleware = (ctx, next) => {
  const { rawHeaders, url = '' } = ctx.req;
  let chars = url.length;
  for (const part of rawHeaders) chars += part.length;
  if (chars > MOST_HEADER_CHARS) throw new HoplaError('headers-too-large');
  // RFC 3986 section 2.1, and UTF-8, which section 2.5 asks for.
  if (url.includes('%') && !isDecodable(url))
    throw new HoplaError(
      'malformed-request',
      'The address has a percent sign that does not begin an encoded character.',
    );
  // What a trusted proxy says in X-Forwarded-Proto: addresses in answers begin with it.
  if (ctx.protocol !== 'http' && ctx.protocol !== 'https')
    throw new HoplaError('malformed-request', 'X-Forwarded-Proto is http or https.');
  return next();
};

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    // URIError: the only one that there is.
    return false;
  }
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

/** What no route answered: a known path with another method, or an unknown path. */
export const answerOtherMethods: Middleware = async (ctx, next) => {
  await next();
  if (ctx.status !== 404 || ctx.body != null || ctx.respond === false) return;
  // Every router notes here which of its routes have this path, whatever their method.
  const routes = (ctx.matched ?? []) as { methods: string[] }[];
  const known = new Set(routes.flatMap((route) => route.methods));
  if (known.size === 0) throw new HoplaError('not-found');
  const allow = METHODS.filter((method) => known.has(method)).join(', ');
  if (ctx.method !== 'OPTIONS') {
    throw new HoplaError('method-not-allowed', `Use one of: ${allow}.`, { headers: { Allow: allow } });
  }
  ctx.status = 204;
  ctx.set('Allow', allow);
};

/** Aborts once an answer is sent, or its client has left: what still waits then waits for nobody. */
export function untilClosed(response: ServerResponse): AbortSignal {
  const closed = new AbortController();
  if (response.closed || response.socket?.destroyed) closed.abort();
  else response.once('close', () => closed.abort());
  return closed.signal;
}
