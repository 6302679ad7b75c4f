import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { cleanEnvironment, fromInside } from './postgres-cluster.ts';
import type { PostgresPrograms } from './postgres-programs.ts';
import { directoryMark, isPostmasterOf, readPidFile, stopProcess } from './postmaster-process.ts';

/** The running server process. `stop` may be called twice. */
export type Postmaster = { stop(): Promise<void> };

/** How to run Postgres on an existing cluster. */
export type PostmasterOptions = {
  dataDirectory: string;
  logFile: string;
  port: number;
  durable: boolean;
  programs: PostgresPrograms;
  log: (message: string) => void;
};

/** Somebody else listens on the port: another one can be tried. */
export class PortTaken extends Error {}

/** After a crash Postgres first reads back up to max_wal_size. */
const startWithinMs = 120_000;

/** Starts Postgres on the cluster, after stopping one that a killed hopla left running there. Needs the directory's lock. */
export async function replacePostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const { dataDirectory, log } = options;
  const left = await readPidFile(dataDirectory);
  if (left !== undefined && (await isPostmasterOf(left.pid, dataDirectory))) {
    log(`Stopping the database left running by a killed hopla (pid ${left.pid})`);
    await stopProcess(left.pid, dataDirectory);
  }
  // Postgres takes a stale postmaster.pid for a running one if any process has that pid by now, ours or not. We know it has
  // none, and this variable tells it so (pg_ctl uses it likewise for its shell); its own check that no process still uses
  // the shared memory of the old one stays in force, as it would not if we deleted the file.
  const environment = { ...cleanEnvironment, ...(left === undefined ? {} : { PG_GRANDPARENT_PID: `${left.pid}` }) };
  return startPostmaster(options, environment);
}

async function startPostmaster(options: PostmasterOptions, env: NodeJS.ProcessEnv): Promise<Postmaster> {
  const { dataDirectory, logFile, programs, port } = options;
  await using logHandle = await open(logFile, 'a', 0o600);
  const logStart = (await logHandle.stat()).size;
  const child = spawn(programs.postgres, postgresArguments(options), {
    ...programs.runAs,
    cwd: dataDirectory,
    env,
    // A session of its own: Ctrl-C goes to every process of the terminal's group, and hopla has to drain first.
    detached: true,
    stdio: ['ignore', logHandle.fd, logHandle.fd],
  });
  await once(child, 'spawn');
  // Whoever forgets to close it is not kept alive by it; the next start replaces it.
  child.unref();
  if (await becomesReady(child, options)) return supervise(child, options);

  const said = (await readFile(logFile)).subarray(logStart).toString();
  const taken = said.includes('could not create any TCP/IP sockets');
  throw taken ? new PortTaken(`Port ${port} is taken: ${said}`) : new Error(`The database does not start: ${said}`);
}

/** false if it ended instead. */
async function becomesReady(child: ChildProcess, { dataDirectory, logFile }: PostmasterOptions): Promise<boolean> {
  const deadline = Date.now() + startWithinMs;
  while (!hasEnded(child)) {
    const running = await readPidFile(dataDirectory);
    if (running?.ready && running.pid === child.pid) return true;
    if (Date.now() > deadline) {
      await stopChild(child, dataDirectory);
      throw new Error(`The database did not get ready in ${startWithinMs / 1000} s. See ${logFile}`);
    }
    await delay(10);
  }
  return false;
}

function supervise(child: ChildProcess, { dataDirectory, logFile, log }: PostmasterOptions): Postmaster {
  let stopping: Promise<void> | undefined;
  child.once('exit', (code, signal) => {
    if (stopping === undefined) log(`The database ended by itself (${signal ?? `exit code ${code}`}). See ${logFile}`);
  });
  return {
    stop() {
      stopping ??= stopChild(child, dataDirectory);
      return stopping;
    },
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function stopChild(child: ChildProcess, dataDirectory: string): Promise<void> {
  if (child.pid !== undefined && !hasEnded(child)) await stopProcess(child.pid, dataDirectory);
}

function postgresArguments({ dataDirectory, port, durable }: PostmasterOptions): string[] {
  const settings = [
    directoryMark(dataDirectory),
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    // No socket files: they would need a directory short enough and open to both users.
    'unix_socket_directories=',
    'cluster_name=hopla',
    // Room for several gateways with their pools; a backend costs nothing until it is used.
    'max_connections=200',
    'shared_buffers=32MB',
    // 1 GB by default, much for a demo: the disk is for staging.
    'max_wal_size=256MB',
    // Nobody replicates or archives a sandbox.
    'wal_level=minimal',
    'max_wal_senders=0',
    'log_checkpoints=off',
    ...(durable ? [] : ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']),
  ];
  return ['-D', fromInside(dataDirectory), ...settings.flatMap((setting) => ['-c', setting])];
}
