import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { startSandboxPostgres } from '../packages/sandbox/postgres.ts';
import { connectDatabase, migrate } from '../src/database/connection.ts';
import { openStaging } from '../src/staging/local/folder.ts';
import { queueOf } from '../src/transfers/job.ts';
import { startQueue } from '../src/transfers/queue.ts';
import { photo, reads, type Side } from './growth-acts.ts';
import { type Plan, watchPlans } from './growth-plans.ts';
import { seed } from './growth-seed.ts';
import { median } from './statistics.ts';

/** One act at both sizes: median milliseconds, and how the large database carried it out. */
export type Row = { act: string; smallMs: number; largeMs: number; ratio: number; plans: Plan[] };

export type GrowthFigures = {
  small: { tickets: number; images: number };
  large: { tickets: number; images: number };
  rows: Row[];
};

type GrowthOptions = { tickets: number; waiting: number; rounds: number };

const SMALL = 1_000;
const FEW_WAITING = 10;

/**
 * The same acts on a database of 1,000 tickets and on a large one, in turns (A B A B …), on one connection each.
 *
 * Both have the same under way, so that they differ in what lies behind; and neither waits for its disk, since that would
 * be a large and equal part of both and hide what grows.
 */
export async function benchGrowth(
  { tickets, waiting, rounds }: GrowthOptions,
  say: (line: string) => void,
): Promise<GrowthFigures> {
  await using started = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-bench-'));
  started.defer(() => rm(directory, { recursive: true, force: true }));
  const postgres = await startSandboxPostgres({ directory: join(directory, 'postgres'), durable: false });
  started.defer(() => postgres.close());
  const open = async (name: string, size: number) => {
    say(`seeding ${size} tickets`);
    return openSide(postgres.databaseUrl, directory, name, size, started);
  };
  const small = await open('small', SMALL);
  const large = await open('large', tickets);

  const samples = new Samples();
  say('reading');
  for (const [act, run] of Object.entries(reads))
    for (let round = 0; round < rounds; round++)
      for (const side of [small, large]) await samples.time(act, side, () => run(side), round > 0);
  say('one photo after the other');
  for (let round = 0; round < 3 * rounds; round++)
    for (const side of [small, large]) await photo(side, (act, run) => samples.time(act, side, run, round > 2));
  say(`${waiting} waiting jobs`);
  await Promise.all([queueUp(small, FEW_WAITING), queueUp(large, waiting)]);
  for (let round = 0; round < 3 * rounds; round++)
    for (const side of [small, large])
      await photo(side, (act, run) => samples.time(`${waiting} jobs waiting: ${act}`, side, run, round > 2));

  say('looking at plans');
  const plans = await plansOf(large);
  const rows = samples.rows(small, large).map((row) => ({ ...row, plans: plans.get(row.act) ?? [] }));
  return { small: small.seeded, large: large.seeded, rows };
}

async function openSide(
  serverUrl: string,
  directory: string,
  name: string,
  tickets: number,
  started: AsyncDisposableStack,
): Promise<Side> {
  const server = connectDatabase(serverUrl, { maxConnections: 1 });
  await server.raw('CREATE DATABASE ??', [name]);
  await server.destroy();
  const databaseUrl = Object.assign(new URL(serverUrl), { pathname: name }).href;
  // One connection, so that it is the same for all, and has its plans watched at the end.
  const db = connectDatabase(databaseUrl, { maxConnections: 1 });
  started.defer(() => db.destroy());
  await migrate(db);
  const staging = await openStaging({ directory: join(directory, name), budgetBytes: 1e12, freeBytes: 0 });
  const boss = await startQueue(db, databaseUrl, staging, pino({ level: 'silent' }));
  started.defer(() => boss.stop({ graceful: false }));
  const seeded = await seed(databaseUrl, tickets, staging.id);
  return { name, db, boss, staging, seeded };
}

/** Jobs of images that nobody knows; recovery has given every real one that waits its own. */
async function queueUp({ boss, staging }: Side, jobs: number): Promise<void> {
  const batch = Array.from({ length: Math.min(jobs, 5_000) }, () => ({ data: { imageId: '' } }));
  for (let left = jobs; left > 0; left -= batch.length) await boss.insert(queueOf(staging.id), batch.slice(0, left));
}

async function plansOf(side: Side): Promise<Map<string, Plan[]>> {
  const plans = new Map<string, Plan[]>();
  // It gives the jobs back that the photos before took; its plans are those of a minute in which nothing is wrong.
  await reads.recovery?.(side);
  const watched = await watchPlans(side.db);
  const note = async <T>(act: string, run: () => Promise<T>): Promise<T> => {
    watched.take();
    const result = await run();
    plans.set(act, watched.take());
    return result;
  };
  for (const [act, run] of Object.entries(reads)) await note(act, () => run(side));
  await photo(side, note);
  return plans;
}

class Samples {
  readonly #times = new Map<string, Map<Side, number[]>>();

  async time<T>(act: string, side: Side, run: () => Promise<T>, counts: boolean): Promise<T> {
    const begun = performance.now();
    const result = await run();
    const ms = performance.now() - begun;
    const ofAct = this.#times.get(act) ?? new Map<Side, number[]>();
    this.#times.set(act, ofAct.set(side, [...(ofAct.get(side) ?? []), ...(counts ? [ms] : [])]));
    return result;
  }

  rows(small: Side, large: Side): Omit<Row, 'plans'>[] {
    return [...this.#times].map(([act, times]) => {
      const [smallMs, largeMs] = [median(times.get(small) ?? []), median(times.get(large) ?? [])];
      return { act, smallMs, largeMs, ratio: largeMs / smallMs };
    });
  }
}
