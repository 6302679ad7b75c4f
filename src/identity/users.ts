import { randomUUIDv7 } from 'node:crypto';
import type { Database } from '../database/connection.ts';
import { User } from '../database/models.ts';
import { HoplaError } from '../model/errors.ts';
import { hashPassword, verifyPassword } from './passwords.ts';
import { nameKey } from './user-names.ts';

/** Creates a user; without a password it can only be used with issued tokens. Throws a unique violation for a taken name. */
export async function createUser(
  db: Database,
  request: { username: string; password?: string; isAdmin?: boolean },
): Promise<User> {
  const passwordHash = request.password === undefined ? null : await hashPassword(request.password);
  return User.query(db).insertAndFetch({
    id: randomUUIDv7(),
    username: request.username,
    nameKey: nameKey(request.username),
    passwordHash,
    isAdmin: request.isAdmin ?? false,
  });
}

/**
 * User names are compared without regard to case and to how a letter is encoded. Older users may have names that differ in
 * nothing else: the exact name finds each of them.
 */
export async function findUser(db: Database, username: string): Promise<User | undefined> {
  return User.query(db)
    .whereRaw('(name_key = ? OR lower(username) = lower(?))', [nameKey(username), username])
    .orderByRaw('username = ? DESC, lower(username) = lower(?) DESC', [username, username])
    .first();
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

/** Sets a password; the one before stops working. `passwordHash` comes from `hashPassword`. */
export async function setPasswordHash(db: Database, userId: string, passwordHash: string): Promise<void> {
  await User.query(db).findById(userId).patch({ passwordHash, updatedAt: new Date() });
}

/** The same with the password itself. */
export async function setUserPassword(db: Database, userId: string, password: string): Promise<void> {
  await setPasswordHash(db, userId, await hashPassword(password));
}

/**
 * Holds a user until the transaction ends, if the password that was checked is still the user's. Otherwise throws
 * `invalid-credentials`: a change of the password that ended all sessions would have missed the one that now begins.
 */
export async function holdCredentials(trx: Database, { id, passwordHash }: User): Promise<void> {
  const held = await User.query(trx).findOne({ id, password_hash: passwordHash }).whereNull('disabled_at').forShare();
  if (!held) throw new HoplaError('invalid-credentials');
}
