import type { Database } from '../database/connection.ts';
import { User } from '../database/models.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { endSessions, signOutEverywhere } from './sign-out.ts';
import { holdCredentials, setPasswordHash } from './users.ts';

export type PasswordChange = { current: string; next: string; everywhere: boolean };

/**
 * A user's own change of the password. Sessions in the panel end, and with `everywhere` the tokens of all logins.
 * Resolves to the ids of the tokens that were revoked, or to null for a wrong password.
 */
export async function changeOwnPassword(
  db: Database,
  userId: string,
  { current, next, everywhere }: PasswordChange,
): Promise<string[] | null> {
  const user = await User.query(db).findById(userId);
  if (!user || !(await verifyPassword(current, user.passwordHash))) return null;
  const hash = await hashPassword(next);
  return db.transaction(async (trx) => {
    // Of two changes at once, with the same current password, one is first.
    await holdCredentials(trx, user);
    await setPasswordHash(trx, userId, hash);
    if (everywhere) return signOutEverywhere(trx, userId);
    await endSessions(trx, userId);
    return [];
  });
}
