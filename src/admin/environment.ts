import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import pino, { type Logger } from 'pino';
import { z } from 'zod';
import { startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { startSandboxPostgres } from '../../packages/sandbox/postgres.ts';
import type { Config } from '../config.ts';
import { connectDatabase, migrate } from '../database/connection.ts';
import { openStorage } from '../storage/open.ts';
import type { AdminContext } from './cli/run.ts';

const CONNECT_TIMEOUT_MS = 3_000;
/** Connections to the storage at once, when a ticket's images are removed there. */
const MAX_SOCKETS = 8;

/** What a running `npm start` left in `<DATA_DIR>/sandbox.json`. */
const SandboxFile = z.object({ url: z.string(), databaseUrl: z.string(), cloudinaryUrl: z.string() });
type SandboxFile = z.output<typeof SandboxFile>;

/**
 * Finds database and storage the way the gateway does: from the settings; else those of the running sandbox; else the
 * sandbox's own, started for the length of the command.
 */
export function openAdminEnvironment(config: Config): AdminContext {
  const log = createAdminLog(config.LOG_LEVEL);
  const started = new AsyncDisposableStack();
  const once = <T>(find: () => Promise<T>) => {
    let found: Promise<T> | undefined;
    return () => {
      found ??= find();
      return found;
    };
  };
  const running = once(() => findRunningSandbox(config));
  return {
    log,
    stagingDirectory: config.STAGING_DIR,
    publicUrl: config.PUBLIC_URL ?? '',
    databaseUrl: once(async () => {
      if (config.DATABASE_URL !== undefined) return config.DATABASE_URL;
      return (await running())?.databaseUrl ?? startDatabase(config, started, log);
    }),
    async storage() {
      const url = config.STORAGE_URL ?? (await running())?.cloudinaryUrl ?? (await startStorage(config, started));
      return openStorage(config, url, MAX_SOCKETS);
    },
    close: () => started.disposeAsync(),
  };
}

/** Standard output is for what a command finds. Starting and stopping something on the way is worth no line. */
function createAdminLog(level: string): Logger {
  return pino({ level: level === 'info' ? 'warn' : level, base: null }, pino.destination({ dest: 2, sync: true }));
}

/** Null unless its database answers: the file outlives a killed sandbox, and the port may have another owner by now. */
async function findRunningSandbox(config: Config): Promise<SandboxFile | null> {
  const file = await readSandboxFile(join(config.DATA_DIR, 'sandbox.json'));
  if (!file) return null;
  const client = new pg.Client({
    connectionString: file.databaseUrl,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: CONNECT_TIMEOUT_MS,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return file;
  } catch {
    return null;
  } finally {
    await client.end().catch(() => {});
  }
}

async function readSandboxFile(path: string): Promise<SandboxFile | null> {
  try {
    return SandboxFile.parse(JSON.parse(await readFile(path, 'utf8')));
  } catch {
    // ENOENT: it never ran; anything else: a crash left it unreadable, and the next start makes it anew.
    return null;
  }
}

async function startDatabase(config: Config, started: AsyncDisposableStack, log: Logger): Promise<string> {
  const postgres = await startSandboxPostgres({
    directory: join(config.DATA_DIR, 'postgres'),
    log: (message) => log.debug(message),
  });
  started.defer(() => postgres.close());
  const db = connectDatabase(postgres.databaseUrl, { maxConnections: 2 });
  try {
    await migrate(db);
  } finally {
    await db.destroy();
  }
  return postgres.databaseUrl;
}

async function startStorage(config: Config, started: AsyncDisposableStack): Promise<string> {
  // A database of its own has its images elsewhere: the empty sandbox would answer that there was nothing to remove.
  if (config.DATABASE_URL !== undefined)
    throw new Error('Set CLOUDINARY_URL to the storage that the images of DATABASE_URL are in.');
  const cloudinary = await startSandboxCloudinary({
    directory: join(config.DATA_DIR, 'cloudinary'),
    ledgerFile: false,
  });
  started.defer(() => cloudinary.close());
  return cloudinary.cloudinaryUrl;
}
