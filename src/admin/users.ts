import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { User } from '../database/models.ts';
import { HoplaError } from '../errors.ts';
import { parseInput } from '../http/json-body.ts';
import { createUser, setUserDisabled, setUserPassword } from '../identity/users.ts';
import { type Actor, recordChange } from './audit.ts';
import { getUser } from './find.ts';
import { type Page, type PageRequest, toPage } from './page.ts';
import { viewUser } from './view.ts';

const Password = z.string().min(1, 'must not be empty').max(1000, 'must have at most 1000 characters');
const NewUser = z.strictObject({
  username: z.string().regex(/^[^\p{Cc}\s]{1,100}$/u, 'must have 1 to 100 characters, none of them a space'),
  password: Password.optional(),
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
    if (!(error instanceof Error && 'constraint' in error && error.constraint === 'users_username')) throw error;
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

/**
 * Sets a password, and ends the user's sessions in the panel. Tokens, also those of earlier logins, stay valid: revoke
 * them one by one.
 */
export async function changePassword(db: Database, by: Actor, username: string, password: string): Promise<User> {
  const parsed = parseInput(Password, password);
  return db.transaction(async (trx) => {
    const before = await holdUser(trx, username);
    await setUserPassword(trx, before.id, parsed);
    await endSessions(trx, before.id);
    const user = await getUser(trx, username);
    await recordChange(trx, by, {
      action: 'user.password',
      target: user.id,
      before: viewUser(before),
      after: viewUser(user),
    });
    return user;
  });
}

/** Two changes of one user come one after the other, so that the log says of each what was before it. */
async function holdUser(trx: Database, username: string): Promise<User> {
  const { id } = await getUser(trx, username);
  return User.query(trx).findById(id).forUpdate().throwIfNotFound();
}

async function endSessions(trx: Database, userId: string): Promise<void> {
  await trx('sessions').where({ user_id: userId }).delete();
}
