import { createHash, randomBytes, randomUUIDv7 } from 'node:crypto';
import type { Database } from '../database/connection.ts';
import { Token, type User } from '../database/models.ts';

/** Who calls: a valid token and its enabled user. */
export type Caller = {
  tokenId: string;
  kind: 'user' | 'upload';
  /** A user token that a login handed out; false for one that an admin issued. */
  isLogin: boolean;
  ticketId: string | null;
  user: { id: string; username: string; isAdmin: boolean };
};

const PREFIX = 'hop_';
/** A token as `issueToken` makes it: 32 bytes are 43 characters of base64url, of which the last one has two bits to spare. */
const TOKEN = /^hop_[\w-]{42}[AEIMQUYcgkosw048]$/;

/** False for text that no token can be, so that nobody asks the database for it. */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Opaque text of 256 random bits; the prefix lets secret scanners and people recognise it. */
export type IssuedToken = { token: string; id: string; expiresAt: Date | null };

export type TokenRequest = {
  userId: string;
  label?: string;
  expiresAt?: Date | null;
  ticketId?: string;
  isLogin?: boolean;
};

/** Issues a token; with a `ticketId` an upload token for that ticket alone. Only its SHA-256 is kept. */
export async function issueToken(db: Database, request: TokenRequest): Promise<IssuedToken> {
  const token = PREFIX + randomBytes(32).toString('base64url');
  const id = randomUUIDv7();
  const expiresAt = request.expiresAt ?? null;
  await Token.query(db).insert({
    id,
    userId: request.userId,
    kind: request.ticketId ? 'upload' : 'user',
    ticketId: request.ticketId ?? null,
    isLogin: request.isLogin ?? false,
    label: request.label ?? null,
    sha256: digest(token),
    expiresAt,
  });
  return { token, id, expiresAt };
}

/** Revokes a token; true when it was valid until now. */
export async function revokeToken(db: Database, tokenId: string): Promise<boolean> {
  const revoked = await Token.query(db).patch({ revokedAt: new Date() }).where({ id: tokenId }).whereNull('revoked_at');
  return revoked === 1;
}

/**
 * Finds who holds a token; null when it is unknown, revoked or expired, or its user disabled.
 *
 * The look-up is by the SHA-256 of a 256-bit random secret: an index walk over hashes tells an attacker who measures
 * time nothing about the secret, so no further constant-time comparison is needed.
 */
export async function findCaller(db: Database, token: string): Promise<Caller | null> {
  const row = await validTokens(db)
    .select('tokens.id', 'tokens.kind', 'tokens.is_login', 'tokens.ticket_id', 'tokens.user_id')
    .select('user.username', 'user.is_admin')
    .findOne('tokens.sha256', digest(token))
    .castTo<(Token & Pick<User, 'username' | 'isAdmin'>) | undefined>();
  if (!row) return null;
  return {
    tokenId: row.id,
    kind: row.kind,
    isLogin: row.isLogin,
    ticketId: row.ticketId,
    user: { id: row.userId, username: row.username, isAdmin: row.isAdmin },
  };
}

/** Those of the given tokens that are still valid. */
export async function stillValid(db: Database, tokenIds: string[]): Promise<Set<string>> {
  // One parameter, however many there are: a statement has at most 65,535.
  const rows = await validTokens(db)
    .select('tokens.id')
    .whereRaw('tokens.id = ANY (?)', [tokenIds] as never);
  return new Set(rows.map(({ id }) => id));
}

function validTokens(db: Database) {
  return Token.query(db)
    .joinRelated('user')
    .whereNull('tokens.revoked_at')
    .whereNull('user.disabled_at')
    .where((query) => query.whereNull('tokens.expires_at').orWhere('tokens.expires_at', '>', new Date()));
}

/** Notes that tokens were used, each at most once a minute. */
export async function touchTokens(db: Database, tokenIds: string[]): Promise<void> {
  const minuteAgo = new Date(Date.now() - 60_000);
  await Token.query(db)
    .patch({ lastUsedAt: new Date() })
    .whereRaw('id = ANY (?)', [tokenIds] as never)
    .where((query) => query.whereNull('last_used_at').orWhere('last_used_at', '<', minuteAgo));
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
