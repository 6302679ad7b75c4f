import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** How long each way of stopping may take: fast shutdown writes everything out, immediate leaves that to recovery. */
const stopping = [
  { signal: 'SIGINT', withinMs: 10_000 },
  { signal: 'SIGQUIT', withinMs: 6_000 },
  { signal: 'SIGKILL', withinMs: 2_000 },
] as const;

/**
 * What postmaster.pid says of the postmaster that runs on `dataDirectory`, or last ran there and was killed. Undefined
 * after a clean stop. Line 1 is the pid, line 8 the state: https://www.postgresql.org/docs/18/storage-file-layout.html
 */
export async function readPidFile(dataDirectory: string): Promise<{ pid: number; ready: boolean } | undefined> {
  // ENOENT: stopped cleanly. A file that cannot be read is left to postgres, which says so.
  const lines = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').then(
    (text) => text.split('\n'),
    () => [],
  );
  const pid = Number(lines[0]);
  return Number.isInteger(pid) && pid > 1 ? { pid, ready: lines[7]?.trim() === 'ready' } : undefined;
}

/** The setting by which a running postmaster tells its directory: pids are reused, and its `-D` can be the same in all. */
export function directoryMark(dataDirectory: string): string {
  return `hopla.directory=${dataDirectory}`;
}

/** Whether the process `pid` exists and is a postmaster that we started on `dataDirectory`. */
export async function isPostmasterOf(pid: number, dataDirectory: string): Promise<boolean> {
  const mark = directoryMark(dataDirectory);
  try {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8');
    return command.split('\0').includes(mark);
  } catch {
    // ENOENT: no such process, or a system without /proc. `ps` knows; it exits with 1 when there is none.
    return run('ps', ['-ww', '-o', 'command=', '-p', `${pid}`]).then(
      ({ stdout }) => stdout.includes(`${mark} `),
      () => false,
    );
  }
}

/** Stops the postmaster `pid` of `dataDirectory` in bounded time. If it is not ours or gone already, nothing happens. */
export async function stopProcess(pid: number, dataDirectory: string): Promise<void> {
  for (const { signal, withinMs } of stopping) {
    const deadline = Date.now() + withinMs;
    if (await isPostmasterOf(pid, dataDirectory)) send(pid, signal);
    // Asked by what it is, not by kill(pid, 0): where init does not reap, an orphan stays a zombie for ever.
    while (Date.now() < deadline) {
      if (!(await isPostmasterOf(pid, dataDirectory))) return;
      await delay(10);
    }
  }
  throw new Error(`The Postgres of ${dataDirectory} (pid ${pid}) does not stop`);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // ESRCH: it ended between the look and the signal.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}
