import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { State } from '../http/app.ts';
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
const PROXY_HEADERS = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip'];

/** `GET /metrics`: for who has the token; without one for everybody on a port of its own, else for this host alone. */
export function metricsRoutes({ scrape, token, ownPort }: MetricsRoutesDeps): Routes<State> {
  const router = createRouter<State>();
  router.get('/metrics', async (ctx) => {
    if (token !== undefined) assertToken(ctx.get('Authorization'), token);
    else if (!ownPort && !isFromThisHost(ctx.req)) throw new HoplaError('not-found');
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

function isFromThisHost({ socket, headers }: IncomingMessage): boolean {
  return isLoopback(socket.remoteAddress ?? '') && !PROXY_HEADERS.some((name) => headers[name] !== undefined);
}
