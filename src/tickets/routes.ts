import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import type { ConcurrencyLimit } from '../http/concurrency-limit.ts';
import { jsonBody, parseInput } from '../http/json-body.ts';
import type { RateLimit } from '../http/rate-limit.ts';
import { createRouter, type Routes } from '../http/router.ts';
import {
  type CallerState,
  callerOf,
  type createAuthentication,
  requireUserToken,
  userCallerOf,
} from '../identity/bearer.ts';
import { HoplaError } from '../model/errors.ts';
import { findTicketOf } from './access.ts';
import type { Details } from './details.ts';
import { listTickets, TicketQuery } from './list.ts';
import { openTicket, TicketRequest } from './open.ts';
import { viewTicket } from './view.ts';

export type TicketDeps = {
  db: Database;
  authenticate: ReturnType<typeof createAuthentication>;
  creations: RateLimit;
  maxOpenTickets: number | undefined;
  /** Base of URLs for this request, without a slash at the end. */
  baseUrlOf: (ctx: { protocol: string; host: string }) => string;
  details: Details;
  /** Lets a token read few at once. */
  limitReads: ConcurrencyLimit;
};

const IdempotencyKey = z.object({
  'Idempotency-Key': z
    .string()
    .max(255)
    .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII'),
});

/** `POST /v1/tickets`, `GET /v1/tickets`, `GET /v1/tickets/:ticketId`. A ticket is changed from the admin side only. */
export function ticketRoutes({
  db,
  authenticate,
  creations,
  maxOpenTickets,
  baseUrlOf,
  details,
  limitReads,
}: TicketDeps): Routes<CallerState> {
  const router = createRouter<CallerState>();

  router.post('/v1/tickets', authenticate, requireUserToken, jsonBody, async (ctx) => {
    const request = parseInput(TicketRequest, ctx.request.body);
    const { 'Idempotency-Key': key } = parseInput(IdempotencyKey, { 'Idempotency-Key': ctx.get('Idempotency-Key') });
    const { user } = userCallerOf(ctx);
    const { ticket, uploadToken } = await creations.charge(user.id, () =>
      openTicket(db, user.id, request, key || null, maxOpenTickets),
    );
    const view = viewTicket(ticket, baseUrlOf(ctx));
    ctx.state.log.info({ ticketId: ticket.id, images: ticket.expected }, 'ticket opened');
    ctx.status = 201;
    ctx.set('Location', `${baseUrlOf(ctx)}/v1/tickets/${ticket.id}`);
    ctx.set('Cache-Control', 'no-store');
    ctx.body = { ...view, uploadToken };
  });

  router.get('/v1/tickets', authenticate, requireUserToken, async (ctx) => {
    const query = parseInput(TicketQuery, { ...ctx.query });
    const { tokenId, user } = userCallerOf(ctx);
    const { tickets, nextCursor } = await limitReads(tokenId, () => listTickets(db, user.id, query));
    const baseUrl = baseUrlOf(ctx);
    if (nextCursor) {
      const next = new URLSearchParams(ctx.querystring);
      next.set('cursor', nextCursor);
      ctx.set('Link', `<${baseUrl}/v1/tickets?${next}>; rel="next"`);
    }
    ctx.set('Cache-Control', 'no-store');
    ctx.body = { items: tickets.map((ticket) => viewTicket(ticket, baseUrl)), nextCursor };
  });

  router.get('/v1/tickets/:ticketId', authenticate, async (ctx) => {
    const caller = callerOf(ctx);
    const { json, tag } = await limitReads(caller.tokenId, async () => {
      const { id, version } = await findTicketOf(db, caller, ctx.params.ticketId ?? '');
      const detail = await details.read(id, version);
      // Deleted since.
      if (!detail) throw new HoplaError('ticket-not-found');
      return detail.write(baseUrlOf(ctx));
    });
    ctx.status = 200;
    ctx.type = 'application/json';
    ctx.set('Cache-Control', 'private, no-cache');
    ctx.etag = tag;
    if (matchesTag(ctx.get('If-None-Match'), ctx.response.get('ETag'))) ctx.status = 304;
    else ctx.body = json;
  });

  return router;
}

/**
 * RFC 9110 section 13.1.2. Not Koa's `fresh`: that says no to a request with `Cache-Control: no-cache`, which is for
 * caches, and which every fetch() sends that has an If-None-Match.
 */
function matchesTag(ifNoneMatch: string, tag: string): boolean {
  const tags = ifNoneMatch.split(',').map((item) => item.trim().replace(/^W\//, ''));
  return tags.includes('*') || tags.includes(tag);
}
