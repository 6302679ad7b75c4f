import Router from '@koa/router';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Context } from '../http/app.ts';
import { type CallerState, type createAuthentication, requireUserToken } from '../identity/bearer.ts';
import { stillValid } from '../identity/tokens.ts';
import { findTicketOf } from '../tickets/access.ts';
import { readTicket } from '../tickets/show.ts';
import type { OffsetOf } from '../tickets/view.ts';
import { type EventStream, eventStreamHeaders, openEventStream } from './event-stream.ts';
import type { Hub, Listener, Topic } from './hub.ts';
import { showChanges, showTicket } from './ticket-stream.ts';

export type ProgressDeps = {
  db: Database;
  hub: Hub;
  authenticate: ReturnType<typeof createAuthentication>;
  baseUrlOf: (ctx: { protocol: string; host: string }) => string;
  offsetOf: OffsetOf;
  log: Logger;
  heartbeatMs?: number;
};

const HEARTBEAT_MS = 15_000;
/** How soon a stream ends whose token is no longer valid, in milliseconds. */
const TOKENS_MS = 5_000;

/** `GET /v1/tickets/:ticketId/events` and `GET /v1/events`; `close` ends every stream. */
export function progressRoutes(deps: ProgressDeps): { router: Router<CallerState>; close: () => void } {
  const { db, hub, authenticate, baseUrlOf, offsetOf, log, heartbeatMs = HEARTBEAT_MS } = deps;
  /** Every open stream, and the token that opened it. */
  const open = new Map<EventStream, string>();
  const beating = setInterval(() => {
    for (const stream of open.keys()) stream.comment();
  }, heartbeatMs);
  const checking = setInterval(() => {
    endInvalid(db, open).catch((error) => log.debug({ err: error }, 'tokens of event streams could not be checked'));
  }, TOKENS_MS);

  /** Answers with a stream, and forgets it when the listener leaves. */
  const begin = (ctx: Context<CallerState>, topic: Topic, show: (stream: EventStream) => Listener) => {
    ctx.respond = false;
    // Who left while the ticket was looked up will not leave once more.
    if (ctx.res.destroyed || ctx.req.socket.destroyed) return;
    ctx.res.writeHead(200, eventStreamHeaders);
    const stream = openEventStream(ctx.res);
    const unsubscribe = hub.subscribe(topic, show(stream));
    open.set(stream, ctx.state.caller.tokenId);
    ctx.res.on('close', () => {
      open.delete(stream);
      unsubscribe();
    });
  };

  const onErrorOf = (ctx: Context<CallerState>) => (error: unknown) =>
    ctx.state.log.warn({ err: error }, 'event stream ended: its ticket could not be read');

  const router = new Router<CallerState>({ prefix: '/v1' });

  router.get('/tickets/:ticketId/events', authenticate, async (ctx) => {
    const ticketId = ctx.params.ticketId ?? '';
    const { caller } = ctx.state;
    await findTicketOf(db, caller, ticketId);
    if (answersHead(ctx)) return;
    const showing = { baseUrl: baseUrlOf(ctx), offsetOf };
    const known = versionOf(ctx.get('Last-Event-ID'));
    const read = () => readTicket(db, caller, ticketId);
    begin(ctx, { ticketId }, (stream) => showTicket({ stream, read, known, onError: onErrorOf(ctx), ...showing }));
  });

  router.get('/events', authenticate, requireUserToken, async (ctx) => {
    if (answersHead(ctx)) return;
    const showing = { baseUrl: baseUrlOf(ctx), offsetOf };
    begin(ctx, { userId: ctx.state.caller.user.id }, (stream) => showChanges(stream, showing, onErrorOf(ctx)));
  });

  return {
    router,
    close() {
      clearInterval(beating);
      clearInterval(checking);
      for (const stream of open.keys()) stream.end();
    },
  };
}

/** Ends the streams whose token was revoked or ran out, or whose user was disabled. */
async function endInvalid(db: Database, open: Map<EventStream, string>): Promise<void> {
  const checked = [...open];
  if (checked.length === 0) return;
  const valid = await stillValid(db, [...new Set(open.values())]);
  for (const [stream, tokenId] of checked) if (!valid.has(tokenId)) stream.end();
}

function answersHead(ctx: Context<CallerState>): boolean {
  if (ctx.method !== 'HEAD') return false;
  ctx.status = 200;
  ctx.set(eventStreamHeaders);
  return true;
}

function versionOf(lastEventId: string): number | null {
  return /^\d{1,9}$/.test(lastEventId) ? Number(lastEventId) : null;
}
