import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from '../../database/connection.ts';
import type { Context } from '../../http/app.ts';
import { createRouter, type Routes } from '../../http/router.ts';
import {
  type CallerState,
  callerOf,
  type createAuthentication,
  requireUserToken,
  userCallerOf,
} from '../../identity/bearer.ts';
import { stillValid } from '../../identity/tokens.ts';
import { isTerminal } from '../../model/states.ts';
import { findTicketOf, mayName, owned } from '../../tickets/access.ts';
import type { Details } from '../../tickets/details.ts';
import type { OffsetOf } from '../../tickets/view.ts';
import type { Hub } from '../types.ts';
import { type Channel, createChannels } from './channels.ts';
import { EventStream, eventStreamHeaders } from './event-stream.ts';
import { createStreamLimits, type StreamLimitsOptions } from './stream-limits.ts';

export type ProgressDeps = {
  db: Database;
  hub: Hub;
  authenticate: ReturnType<typeof createAuthentication>;
  baseUrlOf: (ctx: { protocol: string; host: string }) => string;
  details: Details;
  offsetOf: OffsetOf;
  limits: StreamLimitsOptions;
  log: Logger;
  heartbeatMs?: number;
};

/** What is known of an open stream: the token that opened it, the owner of its tickets, its channel, and when it is its turn to beat. */
type Listening = { tokenId: string; userId: string; channel: Channel; turn: number };

/** The id of an `end` event: the version that the ticket ended with. */
const END_ID = /^(\d{1,9})-end$/;
const HEARTBEAT_MS = 15_000;
const BEATS = 15;
/** How soon a stream ends whose token is no longer valid, in milliseconds. */
const TOKENS_MS = 5_000;
/** How often a gateway that stops looks whether its listeners have gone. */
const LOOK_MS = 20;

/** `close` ends every stream, gives its listener `graceMs` to read the rest, and then cuts it; it may be called twice. */
export type ProgressRoutes = { router: Routes<CallerState>; close(graceMs: number): Promise<void> };

/** `GET /v1/tickets/:ticketId/events` and `GET /v1/events`. */
export function progressRoutes(deps: ProgressDeps): ProgressRoutes {
  const { db, hub, authenticate, baseUrlOf, details, offsetOf, log, heartbeatMs = HEARTBEAT_MS } = deps;
  const onError = (error: unknown) => log.warn({ err: error }, 'event streams ended: their ticket could not be read');
  const channels = createChannels({ db, hub, details, offsetOf, onError });
  const limits = createStreamLimits(deps.limits);
  const open = new Map<EventStream, Listening>();
  let turn = 0;
  let closing = false;
  const beating = beat(open, heartbeatMs);
  const checking = setInterval(() => {
    endInvalid(db, open).catch((error) => log.debug({ err: error }, 'tokens of event streams could not be checked'));
  }, TOKENS_MS);

  // One for all, made here: a function made in a handler would keep that request for as long as its stream lasts.
  const onClose = (stream: EventStream) => {
    const listening = open.get(stream);
    open.delete(stream);
    if (!listening) return;
    limits.leave(listening);
    channels.release(listening.channel, stream);
  };
  /** Answers with a stream; null when the listener left meanwhile. Throws when there are too many of its token or user. */
  const begin = (ctx: Context<CallerState>, channel: Channel) => {
    const caller = callerOf(ctx);
    limits.assertRoom(caller);
    ctx.respond = false;
    const stream = EventStream.open(ctx.res, onClose);
    turn = (turn + 1) % BEATS;
    if (stream) {
      limits.enter(caller);
      open.set(stream, { tokenId: caller.tokenId, userId: caller.user.id, channel, turn });
    }
    if (closing) stream?.end();
    return stream;
  };

  /** True for a listener who has heard the end of the ticket as it is now. 204 alone keeps an EventSource from coming back. */
  const hasEnd = async (ctx: Context<CallerState>, ticketId: string) => {
    const [, version] = END_ID.exec(lastEventIdOf(ctx)) ?? [];
    if (version === undefined) return false;
    const ticket = await findTicketOf(db, callerOf(ctx), ticketId);
    return isTerminal(ticket) && ticket.version === Number(version);
  };

  const join = async (ctx: Context<CallerState>, ticketId: string) => {
    const channel = channels.ofTicket(ticketId);
    try {
      await channel.join({
        baseUrl: baseUrlOf(ctx),
        known: versionOf(lastEventIdOf(ctx)),
        open: (ticket) => {
          owned(callerOf(ctx), ticket);
          return begin(ctx, channel);
        },
      });
    } finally {
      channels.release(channel);
    }
  };

  const router = createRouter<CallerState>();

  router.get('/v1/tickets/:ticketId/events', authenticate, async (ctx) => {
    const ticketId = ctx.params.ticketId ?? '';
    const caller = callerOf(ctx);
    if (ctx.method === 'HEAD' || !mayName(caller, ticketId)) {
      await findTicketOf(db, caller, ticketId);
      return answerHead(ctx);
    }
    if (await hasEnd(ctx, ticketId)) {
      ctx.status = 204;
      return;
    }
    // Before anything is read for it.
    limits.assertRoom(caller);
    await join(ctx, ticketId);
  });

  router.get('/v1/events', authenticate, requireUserToken, async (ctx) => {
    if (ctx.method === 'HEAD') return answerHead(ctx);
    limits.assertRoom(userCallerOf(ctx));
    const channel = channels.ofUser(userCallerOf(ctx).user.id);
    const stream = begin(ctx, channel);
    if (stream) channel.join(stream, baseUrlOf(ctx));
    else channels.release(channel);
  });

  return {
    router,
    async close(graceMs) {
      closing = true;
      clearInterval(beating);
      clearInterval(checking);
      for (const stream of open.keys()) stream.end();
      for (const deadline = performance.now() + graceMs; open.size > 0 && performance.now() < deadline; )
        await delay(LOOK_MS);
      for (const stream of open.keys()) stream.cut();
    },
  };
}

/** One timer for all. It takes them by turns, so that ten thousand hearts do not beat at the same moment. */
function beat(open: Map<EventStream, Listening>, everyMs: number): NodeJS.Timeout {
  let now = 0;
  return setInterval(() => {
    now = (now + 1) % BEATS;
    for (const [stream, { turn }] of open) if (turn === now) stream.beat();
  }, everyMs / BEATS);
}

/** Ends the streams whose token was revoked or ran out, or whose user was disabled. */
async function endInvalid(db: Database, open: Map<EventStream, Listening>): Promise<void> {
  const checked = [...open];
  if (checked.length === 0) return;
  const valid = await stillValid(db, [...new Set(checked.map(([, { tokenId }]) => tokenId))]);
  for (const [stream, { tokenId }] of checked) if (!valid.has(tokenId)) stream.end();
}

function answerHead(ctx: Context<CallerState>): void {
  ctx.status = 200;
  ctx.set(eventStreamHeaders);
}

/** event-source-polyfill sends it as a parameter of the address, which needs no preflight across origins. */
function lastEventIdOf({ headers, query }: Context<CallerState>): string {
  const id = headers['last-event-id'] ?? query.lastEventId;
  return typeof id === 'string' ? id : '';
}

function versionOf(lastEventId: string): number | null {
  return /^\d{1,9}$/.test(lastEventId) ? Number(lastEventId) : null;
}
