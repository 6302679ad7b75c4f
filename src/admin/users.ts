import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { User } from '../database/models.ts';
import { HoplaError } from '../errors.ts';
import { parseInput } from '../http/json-body.ts';
import { createUser, setUserDisabled, setUserPassword } from '../identity/users.ts';
import { getUser } from './find.ts';
import { type Page, type PageRequest, toPage } from './page.ts';

const Password = z.string().min(1, 'must not be empty').max(1000, 'must have at most 1000 characters');
const NewUser = z.strictObject({
  username: z.string().regex(/^[^\p{Cc}\s]{1,100}$/u, 'must have 1 to 100 characters, none of them a space'),
  password: Password.optional(),
  isAdmin: z.boolean().default(false),
});

/** Adds a user; without a password it works with issued tokens only. Throws `invalid-request`, also for a taken name. */
export async function addUser(db: Database, request: z.input<typeof NewUser>): Promise<User> {
  const { username, password, isAdmin } = parseInput(NewUser, request);
  try {
    return await createUser(db, { username, isAdmin, ...(password === undefined ? {} : { password }) });
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
  username: string,
  enabled: boolean,
): Promise<{ user: User; changed: boolean }> {
  const before = await getUser(db, username);
  if ((before.disabledAt === null) === enabled) return { user: before, changed: false };
  await setUserDisabled(db, before.id, !enabled);
  return { user: await getUser(db, username), changed: true };
}

/** Sets a password. Tokens, also those of earlier logins, stay valid: revoke them one by one. */
export async function changePassword(db: Database, username: string, password: string): Promise<User> {
  const user = await getUser(db, username);
  await setUserPassword(db, user.id, parseInput(Password, password));
  return getUser(db, username);
}
