import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type SandboxCloudinary, startSandboxCloudinary } from '../packages/sandbox/cloudinary/server.ts';
import { startSandboxPostgres } from '../packages/sandbox/postgres.ts';
import { connectDatabase, type Database } from '../src/database/connection.ts';
import { issueToken } from '../src/identity/tokens.ts';
import { createUser } from '../src/identity/users.ts';
import { firstMatch, stopProgram } from './program.ts';

/** hopla in a process of its own, as it is run in production, with a durable Postgres and a local Cloudinary beside it. */
export type Service = {
  url: string;
  pid: number;
  /** A user, and a token of that user. */
  userId: string;
  token: string;
  db: Database;
  databaseUrl: string;
  stagingDirectory: string;
  /** Where the store has the bytes it took. */
  blobsDirectory: string;
  postgresDirectory: string;
  cloudinary: SandboxCloudinary;
  /** Ends the hopla that runs, and starts another on the same database, folder and store; resolves when it is ready. */
  startAgain(settings: Record<string, string>): Promise<{ url: string; pid: number }>;
  close(): Promise<void>;
};

export async function startService(settings: Record<string, string> = {}): Promise<Service> {
  await using starting = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-bench-'));
  starting.defer(() => rm(directory, { recursive: true, force: true }));
  const postgres = await startSandboxPostgres({ directory: join(directory, 'postgres') });
  starting.defer(() => postgres.close());
  const cloudinary = await startSandboxCloudinary({ directory: join(directory, 'cloudinary'), ledgerFile: false });
  starting.defer(() => cloudinary.close());
  const start = async (more: Record<string, string>) => {
    const child = spawn(fileURLToPath(new URL('../bin/hopla', import.meta.url)), {
      env: {
        ...process.env,
        DATABASE_URL: postgres.databaseUrl,
        CLOUDINARY_URL: cloudinary.cloudinaryUrl,
        DATA_DIR: directory,
        PORT: '0',
        LOG_LEVEL: 'info',
        MAX_CREATIONS_PER_MINUTE: '1000000',
        // What a bench takes off the disk by itself stays reserved.
        STAGING_BUDGET_BYTES: `${1024 ** 4}`,
        ...more,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const stop = () => stopProgram(child, 'SIGTERM');
    const url = await firstMatch(child, /"url":"([^"]+)"/);
    child.stdout?.resume();
    return { url, pid: child.pid ?? 0, stop };
  };
  let running = await start(settings);
  const { url, pid } = running;
  starting.defer(() => running.stop());
  const db = connectDatabase(postgres.databaseUrl);
  starting.defer(() => db.destroy());
  const { id: userId } = await createUser(db, { username: 'bench' });
  const { token } = await issueToken(db, { userId });
  const started = starting.move();
  return {
    ...{ url, pid, userId, token, db, cloudinary, databaseUrl: postgres.databaseUrl },
    stagingDirectory: join(directory, 'staging'),
    blobsDirectory: join(directory, 'cloudinary', 'blobs'),
    postgresDirectory: join(directory, 'postgres', 'postgres-data'),
    async startAgain(more) {
      await running.stop();
      running = await start({ ...settings, ...more });
      return running;
    },
    close: () => started.disposeAsync(),
  };
}
