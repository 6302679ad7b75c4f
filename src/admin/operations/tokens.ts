import type { Database } from '../../database/connection.ts';
import { Token, type User } from '../../database/models.ts';
import { issueToken, revokeToken } from '../../identity/tokens.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import { WATCH_AFTER_EXPIRY_MS } from '../../tickets/open.ts';
import { type Actor, recordChange } from './audit.ts';
import { getTicket, getUser } from './find.ts';
import { type Page, type PageRequest, toPage } from './page.ts';
import { viewToken } from './view.ts';

export type OwnedToken = Token & Pick<User, 'username' | 'disabledAt'>;

export type TokenRequest = {
  username: string;
  label?: string;
  /** Seconds; without it a user token lasts until it is revoked, and an upload token as long as its ticket's other ones. */
  expiresIn?: number;
  /** Makes it an upload token, for this ticket alone. */
  ticketId?: string;
};

/** Issues a token; `token` is the only copy of it. Throws `not-found`, `ticket-not-found` and `invalid-request`. */
export async function issueTokenFor(
  db: Database,
  by: Actor,
  { username, label, expiresIn, ticketId }: TokenRequest,
): Promise<{ token: string; issued: OwnedToken }> {
  const user = await getUser(db, username);
  if (user.disabledAt)
    throw new HoplaError('invalid-request', `${user.username} is disabled, so no token would work; enable it first.`);
  const lasting = ticketId === undefined ? null : await lifeOfUploadToken(db, user, ticketId);
  const expiresAt = expiresIn === undefined ? lasting : new Date(Date.now() + expiresIn * 1000);
  if (expiresAt && expiresAt.getTime() <= Date.now()) {
    const detail = 'This ticket expired long ago, and its tokens with it; extend it, or give the token its own expiry.';
    throw new HoplaError('invalid-request', detail);
  }
  return db.transaction(async (trx) => {
    const { token, id } = await issueToken(trx, {
      userId: user.id,
      expiresAt,
      ...(label === undefined ? {} : { label }),
      ...(ticketId === undefined ? {} : { ticketId }),
    });
    const issued = await getToken(trx, id);
    await recordChange(trx, by, { action: 'token.issue', target: id, after: viewToken(issued) });
    return { token, issued };
  });
}

async function lifeOfUploadToken(db: Database, user: User, ticketId: string): Promise<Date> {
  const { ticket } = await getTicket(db, ticketId);
  if (ticket.userId !== user.id)
    throw new HoplaError('ticket-not-found', `Ticket ${ticketId} is not one of ${user.username}’s.`);
  return new Date(ticket.expiresAt.getTime() + WATCH_AFTER_EXPIRY_MS);
}

/** Tokens, newest first, of one user or of all; the cursor is the last id. */
export async function listTokens(
  db: Database,
  { username, limit, cursor }: PageRequest & { username?: string },
): Promise<Page<OwnedToken>> {
  const tokens = ownedTokens(db)
    .orderBy('tokens.id', 'desc')
    .limit(limit + 1);
  if (username !== undefined) tokens.where('tokens.user_id', (await getUser(db, username)).id);
  if (cursor !== undefined) tokens.where('tokens.id', '<', cursor);
  return toPage(await tokens.castTo<OwnedToken[]>(), limit, (token) => token.id);
}

/** Throws `not-found`. What is no id is not repeated: it may well be a token, pasted by mistake. */
export async function getToken(db: Database, tokenId: string): Promise<OwnedToken> {
  if (!isId(tokenId))
    throw new HoplaError('not-found', 'That is no token id; `tokens list` shows them. A token itself is not its id.');
  const token = await ownedTokens(db).findOne('tokens.id', tokenId).castTo<OwnedToken | undefined>();
  if (token) return token;
  throw new HoplaError('not-found', `There is no token with the id ${tokenId}; \`tokens list\` shows all.`);
}

/** Revokes a token; callers that used it in the last two seconds may go on for as long. `changed` is false if it was. */
export async function endToken(
  db: Database,
  by: Actor,
  tokenId: string,
): Promise<{ token: OwnedToken; changed: boolean }> {
  return db.transaction(async (trx) => {
    const before = await getToken(trx, tokenId);
    const changed = await revokeToken(trx, tokenId);
    const token = await getToken(trx, tokenId);
    if (changed) {
      const change = { target: tokenId, before: viewToken(before), after: viewToken(token) };
      await recordChange(trx, by, { action: 'token.revoke', ...change });
    }
    return { token, changed };
  });
}

/** Tokens with their users. */
export function ownedTokens(db: Database) {
  return Token.query(db).joinRelated('user').select('tokens.*', 'user.username', 'user.disabled_at');
}
