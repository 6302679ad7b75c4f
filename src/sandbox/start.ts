import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { connectDatabase } from '../database/connection.ts';
import { findCaller, issueToken } from '../identity/tokens.ts';
import { createUser, findUser } from '../identity/users.ts';
import { type SandboxCloudinary, startSandboxCloudinary } from './cloudinary/server.ts';
import { startSandboxPostgres } from './postgres.ts';

/** What stands in for a database and a storage that nobody configured. */
export type Sandbox = { databaseUrl: string; cloudinaryUrl: string; close(): Promise<void> };

/** What scripts read from `<DATA_DIR>/sandbox.json`. */
export type SandboxFile = { url: string; token: string; databaseUrl: string; cloudinaryUrl: string };

const FILE = 'sandbox.json';
const DEMO_USER = 'demo';
const DEMO_PASSWORD = 'demo-password';

/** Starts a local Postgres and a local Cloudinary, each only where none is configured. */
export async function startSandbox(config: Config, log: Logger): Promise<Sandbox> {
  await using starting = new AsyncDisposableStack();
  let databaseUrl = config.DATABASE_URL;
  if (databaseUrl === undefined) {
    log.info('DATABASE_URL is not set: starting a local Postgres');
    const postgres = await startSandboxPostgres({
      directory: join(config.DATA_DIR, 'postgres'),
      log: (message) => log.debug(message),
    });
    starting.defer(() => postgres.close());
    databaseUrl = postgres.databaseUrl;
  }
  let cloudinaryUrl = config.CLOUDINARY_URL;
  if (cloudinaryUrl === undefined) {
    log.info('CLOUDINARY_URL is not set: starting a local Cloudinary');
    const cloudinary = await startCloudinary(config, log);
    starting.defer(() => cloudinary.close());
    cloudinaryUrl = cloudinary.cloudinaryUrl;
  }
  const started = starting.move();
  return { databaseUrl, cloudinaryUrl, close: () => started.disposeAsync() };
}

/** On the port of the last run where that is free: the addresses of stored images contain it. */
async function startCloudinary(config: Config, log: Logger): Promise<SandboxCloudinary> {
  const directory = join(config.DATA_DIR, 'cloudinary');
  const earlier = (await readFileOf(config))?.cloudinaryUrl;
  const known = earlier ? new URL(earlier).searchParams.get('upload_prefix') : null;
  const port = config.SANDBOX_CLOUDINARY_PORT || Number(known ? new URL(known).port : 0);
  try {
    return await startSandboxCloudinary({ directory, port, ledgerFile: false });
  } catch (error) {
    if (config.SANDBOX_CLOUDINARY_PORT || port === 0) throw error;
    log.warn({ port }, 'the local Cloudinary moves to another port: addresses of images stored before no longer work');
    return startSandboxCloudinary({ directory, ledgerFile: false });
  }
}

/** Makes a demo user with a token that lasts, and leaves both, with the addresses, in `sandbox.json` (mode 0600). */
export async function welcome(
  config: Config,
  sandbox: Sandbox,
  url: string,
): Promise<SandboxFile & { username: string; password: string }> {
  const path = join(config.DATA_DIR, FILE);
  const db = connectDatabase(sandbox.databaseUrl, { maxConnections: 2 });
  try {
    const user =
      (await findUser(db, DEMO_USER)) ??
      (await createUser(db, { username: DEMO_USER, password: DEMO_PASSWORD, isAdmin: true }));
    const earlier = (await readFileOf(config))?.token;
    const usable = earlier !== undefined && (await findCaller(db, earlier)) !== null;
    const token = usable ? earlier : (await issueToken(db, { userId: user.id, label: 'demo' })).token;
    const file: SandboxFile = { url, token, databaseUrl: sandbox.databaseUrl, cloudinaryUrl: sandbox.cloudinaryUrl };
    // Written beside and renamed: a script that waits for the file never reads half of it.
    await writeFile(`${path}.new`, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
    await rename(`${path}.new`, path);
    return { ...file, username: DEMO_USER, password: DEMO_PASSWORD };
  } finally {
    await db.destroy();
  }
}

async function readFileOf(config: Config): Promise<Partial<SandboxFile> | null> {
  try {
    return JSON.parse(await readFile(join(config.DATA_DIR, FILE), 'utf8')) as Partial<SandboxFile>;
  } catch {
    // ENOENT at the first start; a file that a crash left unreadable is made anew.
    return null;
  }
}
