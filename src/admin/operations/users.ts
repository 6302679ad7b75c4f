import { z } from 'zod';
import type { Database } from '../../database/connection.ts';
import { User } from '../../database/models.ts';
import { parseInput } from '../../http/json-body.ts';
import { hashPassword, NewPassword } from '../../identity/passwords.ts';
import { endSessions, signOutEverywhere } from '../../identity/sign-out.ts';
import { UserName } from '../../identity/user-names.ts';
import { createUser, setPasswordHash, setUserDisabled } from '../../identity/users.ts';
import { HoplaError } from '../../model/errors.ts';
import { type Actor, recordChange } from './audit.ts';
import { getUser } from './find.ts';
import { type Page, type PageRequest, toPage } from './page.ts';
import { viewUser } from './view.ts';

const NewUser = z.strictObject({
  username: UserName,
  password: NewPassword.optional(),
  isAdmin: z.boolean().default(false),
});

/** Adds a user; without a password it works with issued tokens only. Throws `invalid-request`, also for a taken name. */
export async function addUser(db: Database, by: Actor, request: z.input<typeof NewUser>): Promise<User> {
  const { username, password, isAdmin } = parseInput(NewUser, request);
  try {
    return await db.transaction(async (trx) => {
      const user = await createUser(trx, { username, isAdmin, ...(password === undefined ? {} : { password }) });
      await recordChange(trx, by, { action: 'user.create', target: user.id, after: viewUser(user) });
      return user;
    });
  } catch (error) {
    const constraint = error instanceof Error && 'constraint' in error ? error.constraint : null;
    if (constraint !== 'users_username' && constraint !== 'users_name_key') throw error;
    throw new HoplaError('invalid-request', `The user name ${username} is taken.`, { cause: error });
  }
}

/** Users by name; the cursor is the last name. */
export async function listUsers(db: Database, { limit, cursor }: PageRequest): Promise<Page<User>> {
  const users = User.query(db)
    .orderByRaw('lower(username)')
    .limit(limit + 1);
  if (cursor !== undefined) users.whereRaw('lower(username) > lower(?)', [cursor]);
  return toPage(await users, limit, (user) => user.username);
}

/** Disables or enables a user. `changed` is false when there was nothing to do. */
export async function setUserEnabled(
  db: Database,
  by: Actor,
  username: string,
  enabled: boolean,
): Promise<{ user: User; changed: boolean }> {
  return db.transaction(async (trx) => {
    const before = await holdUser(trx, username);
    if ((before.disabledAt === null) === enabled) return { user: before, changed: false };
    await setUserDisabled(trx, before.id, !enabled);
    await endSessions(trx, before.id);
    const user = await getUser(trx, username);
    const action = enabled ? 'user.enable' : 'user.disable';
    await recordChange(trx, by, { action, target: user.id, before: viewUser(before), after: viewUser(user) });
    return { user, changed: true };
  });
}

/** A user, and the ids of the tokens that worked until now, for `callers.forget`. */
export type SignedOut = { user: User; ended: string[] };

/**
 * Sets a password, and ends the user's sessions in the panel. Tokens stay valid; with `everywhere` those of logins end
 * too.
 */
export async function changePassword(
  db: Database,
  by: Actor,
  username: string,
  { password, everywhere = false }: { password: string; everywhere?: boolean },
): Promise<SignedOut> {
  const hash = await hashPassword(parseInput(NewPassword, password));
  return db.transaction(async (trx) => {
    const before = await holdUser(trx, username);
    await setPasswordHash(trx, before.id, hash);
    await endSessions(trx, before.id);
    const ended = everywhere ? await signOutEverywhere(trx, before.id) : [];
    const user = await getUser(trx, before.username);
    await recordChange(trx, by, {
      action: 'user.password',
      target: user.id,
      before: viewUser(before),
      after: { ...viewUser(user), ...(everywhere ? { tokensEnded: ended.length } : {}) },
    });
    return { user, ended };
  });
}

/** Ends a user's sessions in the panel and the tokens of logins; with `issued` also those of applications and tickets. */
export async function signUserOut(
  db: Database,
  by: Actor,
  username: string,
  { issued = false }: { issued?: boolean } = {},
): Promise<SignedOut> {
  return db.transaction(async (trx) => {
    const user = await holdUser(trx, username);
    const ended = await signOutEverywhere(trx, user.id, { issued });
    const after = { issued, tokensEnded: ended.length };
    await recordChange(trx, by, { action: 'user.sign-out-everywhere', target: user.id, after });
    return { user, ended };
  });
}

/** Two changes of one user come one after the other, so that the log says of each what was before it. */
async function holdUser(trx: Database, username: string): Promise<User> {
  const { id } = await getUser(trx, username);
  return User.query(trx).findById(id).forUpdate().throwIfNotFound();
}
