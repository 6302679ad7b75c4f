import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { connectDatabase } from '../src/database/connection.ts';
import { type Figure, report } from './figures.ts';
import type { Part } from './part.ts';
import { firstMatch, stopProgram } from './program.ts';
import { cpuSecondsOfPostgres, usageOf } from './usage.ts';

const STARTS = 3;
const SETTLE_MS = 10_000;

/** How soon `npm start` is ready on a folder it has run in before, and what it does while nobody asks anything. */
export const start: Part = async ({ quick, say }) => {
  const directory = await mkdtemp(join(tmpdir(), 'hopla-bench-'));
  const idleMs = quick ? 20_000 : 60_000;
  try {
    say('the first start, which sets everything up');
    await (await startAll(directory)).stop();
    const seconds: number[] = [];
    for (let count = 1; count < STARTS; count++) {
      say(`start ${count}`);
      const again = await startAll(directory);
      seconds.push(again.seconds);
      await again.stop();
    }
    const running = await startAll(directory);
    seconds.push(running.seconds);
    try {
      say(`idle for ${idleMs / 1000} s`);
      await delay(SETTLE_MS);
      const idle = await watchIdle(directory, running.pid, idleMs);
      const figures: Figure[] = [
        {
          what: `start on an existing folder, slowest of ${STARTS}`,
          measured: Math.max(...seconds),
          unit: 's',
          target: { atMost: 3 },
        },
        { what: 'CPU while idle, gateway', measured: idle.gateway, unit: '%', target: { atMost: 1 } },
        { what: 'CPU while idle, Postgres', measured: idle.postgres, unit: '%', target: { atMost: 1 } },
        { what: 'transactions while idle', measured: idle.transactionsPerMinute, unit: '/min' },
      ];
      return { figures, report: report('Start and idle', figures) };
    } finally {
      await running.stop();
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
};

async function startAll(directory: string): Promise<{ pid: number; seconds: number; stop(): Promise<void> }> {
  const { DATABASE_URL: _database, CLOUDINARY_URL: _storage, ...environment } = process.env;
  const begun = performance.now();
  const child = spawn(fileURLToPath(new URL('../bin/hopla', import.meta.url)), {
    env: { ...environment, DATA_DIR: directory, PORT: '0', LOG_LEVEL: 'info' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await firstMatch(child, /"msg":"(hopla is ready)"/);
  child.stdout?.resume();
  return {
    pid: child.pid ?? 0,
    seconds: (performance.now() - begun) / 1000,
    stop: () => stopProgram(child, 'SIGTERM'),
  };
}

/** Percent of one core, of the gateway and of all of its Postgres; every statement outside a transaction is one itself. */
async function watchIdle(directory: string, pid: number, forMs: number) {
  const { databaseUrl } = JSON.parse(await readFile(join(directory, 'sandbox.json'), 'utf8')) as {
    databaseUrl: string;
  };
  const db = connectDatabase(databaseUrl, { maxConnections: 1 });
  try {
    const look = async () => ({
      gateway: (await usageOf(pid)).cpuSeconds,
      postgres: await cpuSecondsOfPostgres(join(directory, 'postgres', 'postgres-data')),
      transactions: Number(
        (await db('pg_stat_database').whereRaw('datname = current_database()').first('xact_commit'))?.xact_commit,
      ),
    });
    const before = await look();
    await delay(forMs);
    const after = await look();
    const percent = (used: number) => (used * 100_000) / forMs;
    return {
      gateway: percent(after.gateway - before.gateway),
      postgres: percent(after.postgres - before.postgres),
      transactionsPerMinute: ((after.transactions - before.transactions) * 60_000) / forMs,
    };
  } finally {
    await db.destroy();
  }
}
