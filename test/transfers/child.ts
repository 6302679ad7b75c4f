import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type SandboxCloudinary, startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import { issueToken } from '../../src/identity/tokens.ts';
import { createUser } from '../../src/identity/users.ts';
import { type Json, until } from '../support/client.ts';
import { createTestDatabase } from '../support/database.ts';
import type { Settings } from '../support/gateway.ts';
import { prepareTemplate } from '../support/template.ts';

const PROGRAM = fileURLToPath(new URL('../../bin/hopla', import.meta.url));

/** `hopla` as a process of its own. */
export type Hopla = {
  /** What it logged so far. */
  lines: Json[];
  /** Resolves to the exit code, or the signal that killed it. */
  ended: Promise<number | string>;
  kill(signal: NodeJS.Signals): void;
};

/** A place where one hopla after the other runs, on the same port, database, staging area and storage. */
export type Host = {
  /** The address, known once the first hopla was ready. */
  readonly url: string;
  readonly databaseUrl: string;
  readonly db: Database;
  readonly cloudinary: SandboxCloudinary;
  readonly cloudinaryDirectory: string;
  readonly token: string;
  stagedFiles(): Promise<string[]>;
  /** Starts a hopla and waits until it is ready, or has ended. */
  start(settings?: Settings): Promise<Hopla>;
  /** Ends what still runs, and removes everything. */
  close(): Promise<void>;
};

export async function createHost(): Promise<Host> {
  await using opening = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
  opening.defer(() => rm(directory, { recursive: true, force: true }));
  const database = await createTestDatabase(prepareTemplate);
  opening.defer(() => database.drop());
  const cloudinaryDirectory = join(directory, 'cloudinary');
  const cloudinary = await startSandboxCloudinary({ directory: cloudinaryDirectory, ledgerFile: false });
  opening.defer(() => cloudinary.close());
  const db = connectDatabase(database.databaseUrl, { maxConnections: 2 });
  opening.defer(() => db.destroy());
  const user = await createUser(db, { username: 'phone' });
  const { token } = await issueToken(db, { userId: user.id });
  const running = new Set<ChildProcess>();
  opening.defer(async () => {
    for (const child of running) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  });
  let url = 'http://127.0.0.1:0';

  const start = async (settings: Settings = {}): Promise<Hopla> => {
    const child = spawn(PROGRAM, {
      // Not this project's folder, where there may be a .env.
      cwd: directory,
      env: {
        PATH: process.env.PATH,
        PORT: new URL(url).port || '0',
        DATA_DIR: directory,
        DATABASE_URL: database.databaseUrl,
        STORAGE_URL: cloudinary.cloudinaryUrl,
        LOG_LEVEL: 'debug',
        // Compiled once, not at each start.
        NODE_COMPILE_CACHE: join(directory, 'compiled'),
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    running.add(child);
    const lines: Json[] = [];
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
    let over = false;
    const ended = once(child, 'exit').then(([code, signal]) => {
      over = true;
      running.delete(child);
      return code ?? signal;
    });
    const ready = () => over || lines.find(({ msg }) => msg === 'hopla is ready');
    const line = await until('hopla is ready', ready);
    if (line !== true) url = line.url;
    return { lines, ended, kill: (signal) => void child.kill(signal) };
  };

  const opened = opening.move();
  return {
    get url() {
      return url;
    },
    databaseUrl: database.databaseUrl,
    db,
    cloudinary,
    cloudinaryDirectory,
    token,
    async stagedFiles() {
      const names = await readdir(join(directory, 'staging'));
      return names.filter((name) => !name.startsWith('.'));
    },
    start,
    close: () => opened.disposeAsync(),
  };
}
