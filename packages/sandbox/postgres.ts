import { existsSync } from 'node:fs';
import { mkdir, realpath, rename, stat, truncate } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { lockDirectory } from './directory-lock.ts';
import { createCluster, openAccess, saveAccess } from './postgres-cluster.ts';
import { findPostgresPrograms } from './postgres-programs.ts';
import { PortTaken, type Postmaster, replacePostmaster } from './postmaster.ts';

/** What to start. `port` fixes the port; without it the one of the last run is used again where it is free. */
export type SandboxPostgresOptions = {
  /** Made when missing. Everything lies in it: data, password, log, lock. */
  directory: string;
  log?: (message: string) => void;
  port?: number;
  /** false gives up surviving a crash of the machine, for speed: for tests only. */
  durable?: boolean;
};

/** A running Postgres. `close` is bounded in time (18 s when Postgres hangs) and may be called twice. */
export type SandboxPostgres = { databaseUrl: string; close(): Promise<void> };

const maxLogBytes = 4 * 1024 * 1024;
const logCheckMs = 60_000;

/**
 * Starts a real Postgres with a database `hopla`, kept in `directory` between runs, for a machine that has none.
 * It listens on 127.0.0.1 only, and outlives Ctrl-C until `close`. One left running by a killed hopla is replaced.
 * Throws an Error that says what to do: another hopla has the directory, or Postgres cannot run here.
 */
export async function startSandboxPostgres(options: SandboxPostgresOptions): Promise<SandboxPostgres> {
  const { log = () => {}, durable = true } = options;
  await mkdir(options.directory, { recursive: true, mode: 0o700 });
  const directory = await realpath(options.directory);
  const lock = lockDirectory(directory, 'postgres.lock');
  try {
    const { postmaster, databaseUrl } = await start(directory, { ...options, durable, log });
    const logFile = join(directory, 'postgres.log');
    // Postgres appends, so it goes on at the new end.
    const logWatch = setInterval(() => capLog(logFile, () => truncate(logFile)), logCheckMs).unref();
    let closing: Promise<void> | undefined;
    const close = async () => {
      clearInterval(logWatch);
      await postmaster.stop().finally(() => lock.release());
    };
    return {
      databaseUrl,
      close() {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

type Settled = Required<Pick<SandboxPostgresOptions, 'log' | 'durable'>> & { port?: number };

async function start(directory: string, { log, durable, port: fixedPort }: Settled) {
  const dataDirectory = join(directory, 'postgres-data');
  const accessFile = join(directory, 'postgres.json');
  const logFile = join(directory, 'postgres.log');
  const programs = await findPostgresPrograms(dataDirectory);
  const access = await openAccess(accessFile, dataDirectory);
  await capLog(logFile, () => rename(logFile, `${logFile}.old`));
  if (!existsSync(dataDirectory)) {
    log('Setting up the database for the first time');
    await createCluster(dataDirectory, access.password, programs, durable);
  }

  let port = fixedPort ?? (await freePort(access.port));
  let postmaster: Postmaster | undefined;
  while (postmaster === undefined) {
    try {
      postmaster = await replacePostmaster({ dataDirectory, logFile, port, durable, programs, log });
    } catch (error) {
      // Between our look and its bind somebody else can take the port.
      if (!(error instanceof PortTaken) || fixedPort !== undefined) throw error;
      port = await freePort(undefined);
    }
  }
  try {
    if (port !== access.port) await saveAccess(accessFile, { ...access, port });
    return { postmaster, databaseUrl: await createDatabase(`postgres://hopla:${access.password}@127.0.0.1:${port}/`) };
  } catch (error) {
    await postmaster.stop();
    throw error;
  }
}

/** `wanted` if nobody listens there, else a port the system picks. */
async function freePort(wanted: number | undefined): Promise<number> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  server.once('error', () => resolve(undefined));
  server.listen(wanted ?? 0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    server.close(() => resolve(port));
  });
  const port = await promise;
  if (port !== undefined) return port;
  if (wanted === undefined) throw new Error('No free port on 127.0.0.1');
  return freePort(undefined);
}

async function createDatabase(serverUrl: string): Promise<string> {
  const client = new pg.Client({ connectionString: `${serverUrl}postgres` });
  await client.connect();
  try {
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = 'hopla'");
    if (rowCount === 0) await client.query('CREATE DATABASE hopla');
  } finally {
    await client.end();
  }
  return `${serverUrl}hopla`;
}

async function capLog(logFile: string, shorten: () => Promise<void>): Promise<void> {
  // ENOENT: nothing logged yet. Nothing else here is worth ending for: it is tried again.
  const size = await stat(logFile).then(
    (found) => found.size,
    () => 0,
  );
  if (size > maxLogBytes) await shorten().catch(() => {});
}
