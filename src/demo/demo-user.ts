import { randomInt } from 'node:crypto';
import { connectDatabase, type Database } from '../database/connection.ts';
import { Token, type User } from '../database/models.ts';
import { verifyPassword } from '../identity/passwords.ts';
import { findCaller, issueToken } from '../identity/tokens.ts';
import { createUser, findUser, setUserPassword } from '../identity/users.ts';
import { readSandboxFile, type SandboxFile, writeSandboxFile } from './sandbox-file.ts';
import type { Sandbox } from './stand-ins.ts';

const DEMO_USER = 'demo';
/** The password of every demo user made by an older version. */
const KNOWN_PASSWORD = 'demo-password';
/** Letters and digits that nobody takes for one another when reading them off a screen. */
const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';
const GROUPS = 4;
const GROUP_LETTERS = 5;

/** How to get in; `isNew` when this start made the password. */
export type Welcome = SandboxFile & { isNew: boolean };

/**
 * Makes a demo user with a token that lasts, and leaves the way in, with the addresses, in `sandbox.json`. The file is
 * written before the commit: a crash in between leaves a password that the next start gives to the user.
 */
export async function welcome(dataDir: string, sandbox: Sandbox, url: string): Promise<Welcome> {
  const earlier = await readSandboxFile(dataDir);
  const { databaseUrl, cloudinaryUrl } = sandbox;
  const db = connectDatabase(databaseUrl, { maxConnections: 1 });
  try {
    return await db.transaction(async (trx) => {
      const { user, password, isNew } = await demoUser(trx, earlier?.password);
      const token = await demoToken(trx, user, earlier?.token);
      const file = { url, token, username: user.username, password, databaseUrl, cloudinaryUrl };
      await writeSandboxFile(dataDir, file);
      return { ...file, isNew };
    });
  } finally {
    await db.destroy();
  }
}

type DemoUser = { user: User; password: string | null; isNew: boolean };

async function demoUser(db: Database, kept: string | null | undefined): Promise<DemoUser> {
  const user = await findUser(db, DEMO_USER);
  const fresh = kept ?? randomPassword();
  if (user === undefined) {
    const made = await createUser(db, { username: DEMO_USER, password: fresh, isAdmin: true });
    return { user: made, password: fresh, isNew: true };
  }
  if (kept && (await verifyPassword(kept, user.passwordHash))) return { user, password: kept, isNew: false };
  if (!(await verifyPassword(KNOWN_PASSWORD, user.passwordHash))) return { user, password: null, isNew: false };
  await setUserPassword(db, user.id, fresh);
  await endLogins(db, user.id);
  return { user, password: fresh, isNew: true };
}

async function demoToken(db: Database, user: User, kept: string | undefined): Promise<string> {
  if (kept !== undefined && (await findCaller(db, kept)) !== null) return kept;
  return (await issueToken(db, { userId: user.id, label: 'demo' })).token;
}

/** Whoever knew the password may be signed in. Tokens that were issued on purpose have no end, and go on. */
async function endLogins(db: Database, userId: string): Promise<void> {
  // The panel's.
  await db('sessions').where({ user_id: userId }).delete();
  await Token.query(db)
    .patch({ revokedAt: new Date() })
    .where({ user_id: userId, kind: 'user' })
    .whereNotNull('expires_at')
    .whereNull('revoked_at');
}

/** A password to be typed by a person: four groups of five letters, 100 random bits. */
function randomPassword(): string {
  const group = () => Array.from({ length: GROUP_LETTERS }, () => LETTERS[randomInt(LETTERS.length)]).join('');
  return Array.from({ length: GROUPS }, group).join('-');
}
