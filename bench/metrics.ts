import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Database } from '../src/database/connection.ts';
import { Image } from '../src/database/models.ts';
import { backlogOf, createMetrics } from '../src/observability/metrics.ts';
import { openStaging, type Staging } from '../src/staging/local/folder.ts';
import type { Receipt } from '../src/storage/port.ts';
import type { Part } from './part.ts';
import { type Service, startService } from './service.ts';
import { usageOf } from './usage.ts';

const WAITING = 100_000;
const SCRAPES = 20;
/** Longer than the gateway keeps what it read of the backlog. */
const KEPT_MS = 5_100;
/** Longer than the text of a scrape serves all who ask. */
const SHARED_MS = 1_050;
const IMAGES = 50_000;

/** What the metrics cost: their counters for each image, and a scrape with a large backlog. */
export const metrics: Part = async ({ quick, say }) => {
  const service = await startService({ TRANSFER_CONCURRENCY: '0' });
  try {
    say(`${WAITING} images that wait`);
    const stagingId = await insertWaiting(service, WAITING);
    await delay(KEPT_MS);
    const firstMs = await scrapeTime(service);
    const before = await usageOf(service.pid);
    const samples: number[] = [];
    for (let n = 0; n < (quick ? 5 : SCRAPES); n++) {
      await delay(SHARED_MS);
      samples.push(await scrapeTime(service));
    }
    const after = await usageOf(service.pid);
    const figures = {
      waiting: WAITING,
      countingUsPerImage: await countingTime(),
      firstScrapeMs: firstMs,
      scrapeMs: samples.toSorted((a, b) => a - b)[Math.floor(samples.length / 2)] ?? Number.NaN,
      scrapeCpuMs: ((after.cpuSeconds - before.cpuSeconds) * 1000) / samples.length,
      plan: await backlogPlan(service, stagingId),
    };
    return { figures, report: report(figures) };
  } finally {
    await service.close();
  }
};

type Figures = {
  waiting: number;
  countingUsPerImage: number;
  firstScrapeMs: number;
  scrapeMs: number;
  scrapeCpuMs: number;
  plan: string[];
};

function report({ waiting, countingUsPerImage, firstScrapeMs, scrapeMs, scrapeCpuMs, plan }: Figures): string {
  return `
counting: ${countingUsPerImage.toFixed(1)} us of CPU an image
a scrape with ${waiting} images waiting: p50 ${scrapeMs.toFixed(1)} ms, ${scrapeCpuMs.toFixed(1)} ms of CPU; ${firstScrapeMs.toFixed(1)} ms when the backlog is read, at most every 5 s
${plan.map((line) => `  ${line}`).join('\n')}
`;
}

async function insertWaiting({ databaseUrl, userId, stagingDirectory }: Service, images: number): Promise<string> {
  const { id: stagingId } = await openStaging({ directory: stagingDirectory, budgetBytes: 1e12, freeBytes: 0 });
  // Not the gateway's connection, which gives no statement so much time.
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(
      `WITH opened AS (
         INSERT INTO tickets (id, user_id, expected, claimed, received, expires_at)
         SELECT gen_random_uuid(), $1, 1000, 1000, 1000, now() + interval '1 day' FROM generate_series(1, $2::int) RETURNING id
       )
       INSERT INTO images (id, ticket_id, status, size, staging, sha256, md5, received_at)
       SELECT gen_random_uuid(), opened.id, 'received', 20000, $3, repeat('0', 64), repeat('0', 32), now()
       FROM opened, generate_series(1, 1000)`,
      [userId, images / 1000, stagingId],
    );
    await client.query('VACUUM ANALYZE images');
  } finally {
    await client.end();
  }
  return stagingId;
}

async function scrapeTime({ url }: Service): Promise<number> {
  const begun = performance.now();
  await (await fetch(`${url}/metrics`)).text();
  return performance.now() - begun;
}

/** All that is counted of an image that comes with one request and is sent once, in microseconds of CPU. */
async function countingTime(): Promise<number> {
  // Nothing of these is asked for while nobody scrapes.
  const staging = { usage: () => ({ reservedBytes: 0, budgetBytes: 0 }) } as Staging;
  const counting = createMetrics({ db: {} as Database, staging, isPaused: () => false });
  const image = Image.fromJson({ receivedAt: new Date(), storedAt: new Date() });
  const sending = { ready: Promise.resolve(), send: async () => ({ bytes: 20_000 }) as Receipt };
  const prepare = counting.measure(() => sending);
  const lock = counting.timeLocks({ newLock: () => ({ lock: async () => {}, unlock: async () => {} }) }).newLock('');
  const noAbort = new AbortController().signal;
  const ctx = { method: 'POST', path: '/v1/tickets/x/uploads', status: 201 };
  const one = async () => {
    await counting.timeRequests(ctx as never, async () => {});
    await lock.lock(noAbort, () => {});
    counting.countReceived(20_000);
    await prepare(image).send({ signal: noAbort });
    counting.countStored(image);
  };
  for (let n = 0; n < IMAGES / 10; n++) await one();
  const cpu = process.cpuUsage();
  for (let n = 0; n < IMAGES; n++) await one();
  const { user, system } = process.cpuUsage(cpu);
  return (user + system) / IMAGES;
}

async function backlogPlan({ db }: Service, stagingId: string): Promise<string[]> {
  const { rows } = (await db.raw(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) ${backlogOf(db, stagingId).toQuery()}`)) as {
    rows: { 'QUERY PLAN': string }[];
  };
  return rows.map((row) => row['QUERY PLAN']);
}
