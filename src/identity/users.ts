import { randomUUIDv7 } from 'node:crypto';
import type { Database } from '../database/connection.ts';
import { User } from '../database/models.ts';
import { hashPassword, verifyPassword } from './passwords.ts';

/** Creates a user; without a password it can only be used with issued tokens. Throws a unique violation for a taken name. */
export async function createUser(
  db: Database,
  request: { username: string; password?: string; isAdmin?: boolean },
): Promise<User> {
  const passwordHash = request.password === undefined ? null : await hashPassword(request.password);
  return User.query(db).insertAndFetch({
    id: randomUUIDv7(),
    username: request.username,
    passwordHash,
    isAdmin: request.isAdmin ?? false,
  });
}

/** User names are compared without regard to case. */
export async function findUser(db: Database, username: string): Promise<User | undefined> {
  return User.query(db).whereRaw('lower(username) = lower(?)', [username]).first();
}

/** The enabled user with this name and password, or null after the same amount of work. */
export async function checkCredentials(db: Database, username: string, password: string): Promise<User | null> {
  const user = await findUser(db, username);
  const matches = await verifyPassword(password, user && !user.disabledAt ? user.passwordHash : null);
  return matches && user ? user : null;
}

/** Disables or enables a user; tokens stop and start working with it. */
export async function setUserDisabled(db: Database, userId: string, disabled: boolean): Promise<void> {
  await User.query(db)
    .findById(userId)
    .patch({ disabledAt: disabled ? new Date() : null, updatedAt: new Date() });
}

/** Sets a password; the one before stops working. */
export async function setUserPassword(db: Database, userId: string, password: string): Promise<void> {
  await User.query(db)
    .findById(userId)
    .patch({ passwordHash: await hashPassword(password), updatedAt: new Date() });
}
