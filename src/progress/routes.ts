import Router from '@koa/router';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Ticket } from '../database/models.ts';
import { isTerminal } from '../database/states.ts';
import type { Context } from '../http/app.ts';
import { type CallerState, type createAuthentication, requireUserToken } from '../identity/bearer.ts';
import type { Caller } from '../identity/tokens.ts';
import { findTicketOf } from '../tickets/access.ts';
import { imagesOf } from '../tickets/show.ts';
import { type OffsetOf, viewDetail, viewImage, viewTicket } from '../tickets/view.ts';
import { type EventStream, eventStreamHeaders, openEventStream, type StreamEvent } from './event-stream.ts';
import type { Announcement, Hub, Progress } from './hub.ts';

export type ProgressDeps = {
  db: Database;
  hub: Hub;
  authenticate: ReturnType<typeof createAuthentication>;
  baseUrlOf: (ctx: { protocol: string; host: string }) => string;
  offsetOf: OffsetOf;
};

const HEARTBEAT_MS = 15_000;

/** `GET /v1/tickets/:ticketId/events` and `GET /v1/events`; `close` ends every stream. */
export function progressRoutes(deps: ProgressDeps): { router: Router<CallerState>; close: () => void } {
  const { db, hub, authenticate, baseUrlOf } = deps;
  const open = new Set<EventStream>();
  const beating = setInterval(() => {
    for (const stream of open) stream.comment();
  }, HEARTBEAT_MS);

  /** Answers with a stream, and forgets it when the listener leaves. */
  const begin = (ctx: Context<CallerState>, unsubscribe: () => void): EventStream => {
    ctx.respond = false;
    // Silence is what a stream is mostly made of; the heartbeat finds out who is gone.
    ctx.req.socket.setTimeout(0);
    ctx.res.writeHead(200, eventStreamHeaders);
    const stream = openEventStream(ctx.res);
    open.add(stream);
    ctx.res.on('close', () => {
      open.delete(stream);
      unsubscribe();
    });
    return stream;
  };

  const router = new Router<CallerState>({ prefix: '/v1' });

  router.get('/tickets/:ticketId/events', authenticate, async (ctx) => {
    const ticketId = ctx.params.ticketId ?? '';
    const { caller, log } = ctx.state;
    await findTicketOf(db, caller, ticketId);
    if (answersHead(ctx)) return;
    const follower = followTicket({ ...deps, caller, log, ticketId, baseUrl: baseUrlOf(ctx) });
    follower.start(begin(ctx, follower.stop), ctx.get('Last-Event-ID'));
  });

  router.get('/events', authenticate, requireUserToken, async (ctx) => {
    if (answersHead(ctx)) return;
    const baseUrl = baseUrlOf(ctx);
    const unsubscribe = hub.subscribe(
      { userId: ctx.state.caller.user.id },
      {
        onChange: (change) => stream.send(...toEvents(change, baseUrl)),
        onProgress: (progress) => stream.sendIfKeepingUp(toProgressEvent(progress)),
        // Without a snapshot there is nothing to catch up with: the listener reads its list again when it reconnects.
        onResync: () => stream.end(),
      },
    );
    const stream = begin(ctx as never, unsubscribe);
  });

  return {
    router,
    close() {
      clearInterval(beating);
      for (const stream of open) stream.end();
    },
  };
}

function answersHead(ctx: Context<CallerState>): boolean {
  if (ctx.method !== 'HEAD') return false;
  ctx.status = 200;
  ctx.set(eventStreamHeaders);
  return true;
}

type Following = ProgressDeps & { caller: Caller; log: Logger; ticketId: string; baseUrl: string };

/**
 * One listener of one ticket. Changes are collected from the beginning and sent after the snapshot, as far as they are
 * newer: nothing falls between the two.
 */
function followTicket({ db, hub, caller, log, ticketId, baseUrl, offsetOf }: Following) {
  let stream: EventStream | null = null;
  /** The version that the listener has; null while a snapshot is being read. */
  let version: number | null = null;
  let early: Announcement[] = [];

  const send = (change: Announcement) => {
    if (version === null) early.push(change);
    else if (change.ticket.version > version) {
      version = change.ticket.version;
      stream?.send(...toEvents(change, baseUrl));
      endWhenOver(change.ticket);
    }
  };

  const endWhenOver = (ticket: Ticket) => {
    if (!isTerminal(ticket)) return;
    stream?.send({ event: 'end', data: { ticketId, status: ticket.status }, id: ticket.version });
    stream?.end();
  };

  /** `known` is the version that the listener says it has. */
  const synchronise = async (known: number | null) => {
    version = null;
    const ticket = await findTicketOf(db, caller, ticketId);
    if (ticket.version !== known) {
      const detail = await viewDetail(ticket, await imagesOf(db, ticketId), baseUrl, offsetOf);
      stream?.send({ event: 'snapshot', data: detail, id: ticket.version });
    }
    version = ticket.version;
    const waiting = early;
    early = [];
    endWhenOver(ticket);
    waiting.forEach(send);
  };

  const unsubscribe = hub.subscribe(
    { ticketId },
    {
      onChange: send,
      onProgress: (progress) => stream?.sendIfKeepingUp(toProgressEvent(progress)),
      onResync: () => resync(version),
    },
  );

  const resync = (known: number | null) => {
    synchronise(known).catch((error) => {
      log.warn({ err: error }, 'event stream ended: its ticket could not be read');
      stream?.end();
    });
  };

  return {
    start(opened: EventStream, lastEventId: string) {
      stream = opened;
      resync(/^\d{1,9}$/.test(lastEventId) ? Number(lastEventId) : null);
    },
    stop: unsubscribe,
  };
}

function toEvents({ ticket, image }: Announcement, baseUrl: string): StreamEvent[] {
  const id = ticket.version;
  const changed: StreamEvent = { event: 'ticket', data: { ticketId: ticket.id, ...viewTicket(ticket, baseUrl) }, id };
  return image ? [{ event: 'image', data: { ticketId: ticket.id, ...viewImage(image, 0) }, id }, changed] : [changed];
}

function toProgressEvent({ ticketId, imageId, leg, bytes, total }: Progress): StreamEvent {
  return { event: 'progress', data: { ticketId, imageId, leg, bytes, total } };
}
