import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { type SandboxPostgres, startSandboxPostgres } from '../../packages/sandbox/postgres.ts';
import { readPidFile } from '../../packages/sandbox/postmaster-process.ts';
import { freePort } from './ports.ts';

/** A Postgres that can be killed, frozen and started again, always on the same port and data. */
export type Postgres = {
  readonly url: string;
  /** Ends it at once: `SIGQUIT` as `pg_ctl -m immediate` does, `SIGKILL` as nobody should. Resolves when it is gone. */
  kill(signal: 'SIGQUIT' | 'SIGKILL'): Promise<void>;
  start(): Promise<void>;
  /** Stops every one of its processes where it stands; the function that is given back lets them go on. */
  freeze(): Promise<() => void>;
  /** Ends every connection; the server goes on. */
  disconnectAll(): Promise<void>;
  /** Takes every connection there is, until the function that is given back is called. */
  exhaust(): Promise<() => Promise<void>>;
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
    async disconnectAll() {
      const client = await connectTo(url);
      await client.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
      );
      await client.end();
    },
    async exhaust() {
      const taken: pg.Client[] = [];
      const takeOne = async () => {
        // Until one is refused: SQLSTATE 53300, too_many_connections.
        for (let left = true; left; ) {
          left = await connectTo(url).then(
            (client) => taken.push(client) > 0,
            () => false,
          );
        }
      };
      await Promise.all(Array.from({ length: 8 }, takeOne));
      return async () => {
        await Promise.all(taken.map((client) => client.end().catch(() => {})));
      };
    },
    close: () => server.close(),
  };
}

async function connectTo(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: 'nemesis', connectionTimeoutMillis: 5_000 });
  // One that is ended from the other side has nothing more to say.
  client.on('error', () => {});
  await client.connect();
  return client;
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
