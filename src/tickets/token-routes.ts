import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { Token } from '../database/models.ts';
import { parseInput } from '../http/json-body.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { type CallerState, type createAuthentication, requireUserToken, userCallerOf } from '../identity/bearer.ts';
import type { Callers } from '../identity/callers.ts';
import { revokeToken } from '../identity/tokens.ts';
import { HoplaError } from '../model/errors.ts';
import { isId } from '../model/ids.ts';
import { findTicketOf } from './access.ts';
import { Limit } from './list.ts';
import type { UploadTokenView } from './schemas.ts';

export type TicketTokenDeps = {
  db: Database;
  callers: Callers;
  authenticate: ReturnType<typeof createAuthentication>;
};

const UploadTokenQuery = z.strictObject({
  limit: Limit.default(20),
  cursor: z.string().refine(isId, 'must be the nextCursor of an earlier page').optional(),
});

/** `GET /v1/tickets/:ticketId/tokens` and `DELETE /v1/tickets/:ticketId/tokens/:tokenId`, for the ticket's owner. */
export function ticketTokenRoutes({ db, callers, authenticate }: TicketTokenDeps): Routes<CallerState> {
  const router = createRouter<CallerState>();

  router.get('/v1/tickets/:ticketId/tokens', authenticate, requireUserToken, async (ctx) => {
    const { limit, cursor } = parseInput(UploadTokenQuery, { ...ctx.query });
    const ticket = await findTicketOf(db, userCallerOf(ctx), ctx.params.ticketId ?? '');
    const tokens = await validTokensOf(db, ticket.id, limit + 1, cursor);
    const items = tokens.slice(0, limit);
    ctx.set('Cache-Control', 'no-store');
    ctx.body = { items: items.map(viewUploadToken), nextCursor: tokens.length > limit ? items.at(-1)?.id : null };
  });

  router.delete('/v1/tickets/:ticketId/tokens/:tokenId', authenticate, requireUserToken, async (ctx) => {
    const ticket = await findTicketOf(db, userCallerOf(ctx), ctx.params.ticketId ?? '');
    const tokenId = ctx.params.tokenId ?? '';
    // What is no id is not repeated: it may well be a token, pasted by mistake.
    const token = isId(tokenId) ? await Token.query(db).findOne({ id: tokenId, ticket_id: ticket.id }) : undefined;
    if (!token || !(await revokeToken(db, token.id))) throw new HoplaError('token-not-found');
    callers.forget(token.id);
    ctx.state.log.info({ ticketId: ticket.id, tokenId }, 'upload token revoked');
    ctx.status = 204;
  });

  return router;
}

/** Newest first. */
async function validTokensOf(db: Database, ticketId: string, limit: number, after?: string): Promise<Token[]> {
  const tokens = Token.query(db)
    .where({ ticket_id: ticketId })
    .whereNull('revoked_at')
    .whereRaw('(expires_at IS NULL OR expires_at > now())')
    .orderBy('id', 'desc')
    .limit(limit);
  return after === undefined ? tokens : tokens.where('id', '<', after);
}

function viewUploadToken({ id, createdAt, lastUsedAt, expiresAt }: Token): UploadTokenView {
  return {
    id,
    createdAt: createdAt.toISOString(),
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
    expiresAt: expiresAt?.toISOString() ?? null,
  };
}
