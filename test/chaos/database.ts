import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type SandboxPostgres, startSandboxPostgres } from '../../src/sandbox/postgres.ts';
import { readPidFile } from '../../src/sandbox/postmaster-process.ts';
import { freePort } from './ports.ts';

/** A Postgres that can be killed, frozen and started again, always on the same port and data. */
export type Postgres = {
  readonly url: string;
  /** Ends it at once: `SIGQUIT` as `pg_ctl -m immediate` does, `SIGKILL` as nobody should. Resolves when it is gone. */
  kill(signal: 'SIGQUIT' | 'SIGKILL'): Promise<void>;
  start(): Promise<void>;
  /** Stops every one of its processes where it stands; the function that is given back lets them go on. */
  freeze(): Promise<() => void>;
  close(): Promise<void>;
};

const START_MS = 30_000;

export async function startPostgres(directory: string): Promise<Postgres> {
  const port = await freePort();
  const dataDirectory = join(directory, 'postgres-data');
  // Durable, unlike that of the other tests: what was committed has to be there after a kill.
  const start = () => startSandboxPostgres({ directory, port });
  let server: SandboxPostgres = await start();
  const { databaseUrl: url } = server;
  return {
    url,
    async kill(signal) {
      const running = await readPidFile(dataDirectory);
      if (running) process.kill(running.pid, signal);
      // Finds it ended, or waits for that.
      await server.close();
    },
    async start() {
      const deadline = performance.now() + START_MS;
      for (;;) {
        try {
          server = await start();
          return;
        } catch (error) {
          // The children of a killed postmaster hold its shared memory for a moment, and it refuses to start over them.
          if (performance.now() > deadline) throw error;
          await delay(100);
        }
      }
    },
    async freeze() {
      const running = await readPidFile(dataDirectory);
      if (!running) return () => {};
      // The postmaster first, so that it makes no more children.
      process.kill(running.pid, 'SIGSTOP');
      const pids = [running.pid, ...(await childrenOf(running.pid))];
      signalAll(pids, 'SIGSTOP');
      return () => signalAll(pids.toReversed(), 'SIGCONT');
    },
    close: () => server.close(),
  };
}

/** The processes whose parent is `pid`. proc(5): the fourth field of stat, counted behind the name in brackets. */
async function childrenOf(pid: number): Promise<number[]> {
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(all.map((name) => readFile(`/proc/${name}/stat`, 'utf8').catch(() => '')));
  return all
    .filter((_, index) => Number(stats[index]?.slice(stats[index].lastIndexOf(')')).split(' ')[2]) === pid)
    .map(Number);
}

function signalAll(pids: number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // ESRCH: a backend that ended meanwhile.
    }
  }
}
