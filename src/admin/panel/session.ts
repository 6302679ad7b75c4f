import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Database } from '../../database/connection.ts';
import type { Actor } from '../operations/audit.ts';

/** What the next page says about the change before it. */
export type Notice = { kind: 'done' | 'problem'; text: string; lines: string[] };

/** A signed-in admin. */
export type Session = {
  /** What the cookie holds; of it the database knows the SHA-256 alone. */
  secret: string;
  by: Actor & { userId: string };
  notice: Notice | null;
};

/** A session ends after so long without a request, and in any case after a working day. */
const IDLE = "interval '30 minutes'";
const LONGEST = "interval '12 hours'";
const SEEN = "interval '1 minute'";

/** Makes a session and resolves to its secret. Sessions that have ended go at this occasion. */
export async function startSession(trx: Database, userId: string): Promise<string> {
  const secret = newSecret();
  await trx('sessions').whereRaw(`created_at < now() - ${LONGEST} OR seen_at < now() - ${IDLE}`).delete();
  await trx('sessions').insert({ sha256: digest(secret), user_id: userId });
  return secret;
}

/**
 * The session with this secret; null when there is none any more, or its user is disabled or no admin by now. The notice
 * is handed out once. `attended` is false for a page that asks by itself: that keeps no session alive.
 */
export async function findSession(db: Database, secret: string, attended: boolean): Promise<Session | null> {
  const { rows } = (await db.raw(
    `SELECT users.id, users.username, sessions.notice, seen_at < now() - ${SEEN} AS stale
     FROM sessions JOIN users ON users.id = sessions.user_id
     WHERE sha256 = ? AND users.is_admin AND users.disabled_at IS NULL
       AND sessions.created_at > now() - ${LONGEST} AND seen_at > now() - ${IDLE}`,
    [digest(secret)],
  )) as { rows: { id: string; username: string; notice: Notice | null; stale: boolean }[] };
  const [row] = rows;
  if (!row) return null;
  if (attended && (row.stale || row.notice))
    await db.raw('UPDATE sessions SET seen_at = now(), notice = NULL WHERE sha256 = ?', [digest(secret)]);
  return { secret, by: { name: row.username, userId: row.id }, notice: attended ? row.notice : null };
}

export async function leaveNotice(db: Database, secret: string, notice: Notice): Promise<void> {
  await db('sessions')
    .where({ sha256: digest(secret) })
    .update({ notice: JSON.stringify(notice) });
}

export async function endSession(trx: Database, secret: string): Promise<void> {
  await trx('sessions')
    .where({ sha256: digest(secret) })
    .delete();
}

/** 256 random bits. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** What every form of a session carries. It can be made of the cookie alone, which no other site can read. */
export function formTokenOf(secret: string): string {
  return createHmac('sha256', secret).update('hopla form').digest('base64url');
}

export function isFormToken(secret: string, token: string): boolean {
  return timingSafeEqual(digest(formTokenOf(secret)), digest(token));
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
