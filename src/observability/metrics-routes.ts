import { createHash, timingSafeEqual } from 'node:crypto';
import type { Context, State } from '../http/app.ts';
import { isLoopback } from '../http/loopback.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { HoplaError } from '../model/errors.ts';

export type MetricsRoutesDeps = {
  scrape: () => Promise<{ contentType: string; text: string }>;
  /** The bearer token that a scrape needs. */
  token: string | undefined;
  /** Whether the address is for scrapes alone, so that it is known who reaches it. */
  ownPort: boolean;
};

/** Headers that a proxy adds: the client behind it is not on this host, although the proxy may be. */
const PROXY_HEADER = /^(forwarded|via|x-forwarded(-.*)?|x-real-ip|.*-(client|connecting)-ip)$/;

/** `GET /metrics`: for who has the token; without one for everybody on a port of its own, else for this host alone. */
export function metricsRoutes({ scrape, token, ownPort }: MetricsRoutesDeps): Routes<State> {
  const router = createRouter<State>();
  router.get('/metrics', async (ctx) => {
    if (token !== undefined) assertToken(ctx.get('Authorization'), token);
    else if (!ownPort && !isFromThisHost(ctx)) throw new HoplaError('not-found');
    const { contentType, text } = await scrape();
    ctx.type = contentType;
    ctx.set('Cache-Control', 'no-store');
    ctx.body = text;
  });
  return router;
}

function assertToken(authorization: string, token: string): void {
  const [, presented = ''] = /^Bearer (.+)$/i.exec(authorization) ?? [];
  // Digests are of one length, and tell nothing of how much of a guess was right.
  if (timingSafeEqual(digest(presented), digest(token))) return;
  throw new HoplaError('unauthorized', 'Send METRICS_TOKEN as Authorization: Bearer <token>.');
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * True for a program on this host. A page of the Web runs on this host as well, in somebody's browser: it says its origin,
 * or calls us by a name of its own that leads here (DNS rebinding).
 */
function isFromThisHost({ req, hostname }: Context): boolean {
  const { socket, headers } = req;
  const forwarded = Object.keys(headers).some((name) => PROXY_HEADER.test(name));
  const byPage = headers.origin !== undefined || headers['sec-fetch-site'] === 'cross-site' || !isLoopback(hostname);
  return isLoopback(socket.remoteAddress ?? '') && !forwarded && !byPage;
}
