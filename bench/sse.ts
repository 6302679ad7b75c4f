import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { moveImage } from '../src/ledger/move-images.ts';
import { CALM_MS } from '../src/runtime/idle-gc.ts';
import { type Figure, report } from './figures.ts';
import { type Fleet, type Place, startFleet } from './fleet.ts';
import type { Part } from './part.ts';
import { startProgram } from './program.ts';
import { type Service, startService } from './service.ts';
import { quantile } from './statistics.ts';
import { usageOf } from './usage.ts';

const KIB = 1024;
/** What is garbage after so many connections came at once is gone by then. */
const SETTLE_MS = CALM_MS + 5_000;
const EVENTS = 30;

type Told = { lastMs: number[]; cpuMs: number };

/** What listeners of live events cost, and how soon they hear. */
export const sse: Part = async ({ quick, say }) => {
  const many = quick ? 2_000 : 10_000;
  const crowd = 1_000;
  await using running = new AsyncDisposableStack();
  const bare = await startProgram('contenders/events.ts');
  running.defer(() => bare.close());
  const service = await startService({
    ...{ TRANSFER_CONCURRENCY: '0', MAX_STREAMS_PER_TOKEN: '100000', MAX_STREAMS_PER_USER: '100000' },
  });
  running.defer(() => service.close());
  const fleets: Fleet[] = [];
  const fleet = async () => {
    const started = await startFleet();
    running.defer(() => started.close());
    fleets.push(started);
    return started;
  };

  say('one listener, alone');
  const quiet = await openTickets(service, 1);
  const lone = await fleet();
  await lone.open(service.url, quiet);
  await tell(service, lone, quiet[0] as Ticket, 1, EVENTS);
  const alone = await tell(service, lone, quiet[0] as Ticket, 1, EVENTS);

  say(`${crowd} listeners of one ticket`);
  const [busy] = await openTickets(service, 1);
  const together = await fleet();
  await together.open(
    service.url,
    Array.from({ length: crowd }, () => busy as Ticket),
  );
  await delay(SETTLE_MS);
  const crowded = await tell(service, together, busy as Ticket, crowd, EVENTS);
  await together.close();

  say(`${many} listeners of ${many} tickets`);
  const tickets = await openTickets(service, many);
  await delay(SETTLE_MS);
  const before = (await usageOf(service.pid)).residentBytes;
  const opening = performance.now();
  const scattered = await fleet();
  await scattered.open(service.url, tickets);
  const openMs = performance.now() - opening;
  await delay(SETTLE_MS);
  const each = ((await usageOf(service.pid)).residentBytes - before) / many / KIB;
  const amongMany = await tell(service, lone, quiet[0] as Ticket, 1, EVENTS);
  await scattered.close();

  say(`${many} listeners of a bare server`);
  const bareBefore = (await usageOf(bare.pid)).residentBytes;
  const bareFleet = await fleet();
  await bareFleet.open(
    bare.url,
    Array.from({ length: crowd }, () => ({ path: '/', token: '' })),
  );
  const bareCrowd = await tellBare(bare.url, bareFleet, crowd, EVENTS);
  await bareFleet.open(
    bare.url,
    Array.from({ length: many - crowd }, () => ({ path: '/', token: '' })),
  );
  await delay(SETTLE_MS);
  const bareEach = ((await usageOf(bare.pid)).residentBytes - bareBefore) / many / KIB;

  const figures: Figure[] = [
    {
      what: `memory of each of ${many} listeners`,
      measured: each,
      unit: 'KiB',
      target: { atMost: 15 },
      peer: { name: 'bare node:http', measured: bareEach },
    },
    { what: `opening ${many} streams, each with its snapshot`, measured: many / (openMs / 1000), unit: '/s' },
    {
      what: `commit to the last of ${crowd} listeners, median of ${EVENTS}`,
      measured: quantile(crowded.lastMs, 0.5),
      unit: 'ms',
      target: { atMost: 100 },
      peer: { name: 'bare node:http, from POST', measured: quantile(bareCrowd, 0.5) },
    },
    { what: '… the slowest', measured: Math.max(...crowded.lastMs), unit: 'ms', target: { atMost: 100 } },
    { what: 'commit to a lone listener, median', measured: quantile(alone.lastMs, 0.5), unit: 'ms' },
    {
      what: `… with ${many} others on ${many} tickets`,
      measured: quantile(amongMany.lastMs, 0.5),
      unit: 'ms',
      peer: { name: 'alone', measured: quantile(alone.lastMs, 0.5) },
    },
    {
      what: '… CPU of the gateway for that event',
      measured: amongMany.cpuMs,
      unit: 'ms',
      peer: { name: 'alone', measured: alone.cpuMs },
    },
  ];
  return { figures, report: report('Live events', figures) };
};

type Ticket = Place & { imageId: string };

/** Tickets with one upload under way, each with an upload token of its own; made in the database, as HTTP is not measured here. */
async function openTickets({ db, userId }: Service, count: number): Promise<Ticket[]> {
  const made = Array.from({ length: count }, () => ({
    id: randomUUID(),
    imageId: randomUUID(),
    token: `hop_${randomBytes(32).toString('base64url')}`,
  }));
  const expires_at = new Date(Date.now() + 86_400_000);
  await db.transaction(async (trx) => {
    await trx.batchInsert(
      'tickets',
      made.map(({ id }) => ({ id, user_id: userId, expected: 3, claimed: 1, expires_at })),
    );
    await trx.batchInsert(
      'tokens',
      made.map(({ id, token }) => ({
        id: randomUUID(),
        user_id: userId,
        kind: 'upload',
        ticket_id: id,
        sha256: createHash('sha256').update(token).digest(),
      })),
    );
    await trx.batchInsert(
      'images',
      made.map(({ id, imageId }) => ({ id: imageId, ticket_id: id, staging: 'elsewhere', filename: 'IMG_0001.jpeg' })),
    );
  });
  return made.map(({ id, imageId, token }) => ({ imageId, path: `/v1/tickets/${id}/events`, token }));
}

/** Changes an image, again and again: from before the statement that commits it to the last listener who hears of it. */
async function tell(service: Service, fleet: Fleet, ticket: Ticket, listeners: number, events: number): Promise<Told> {
  const lastMs: number[] = [];
  const { cpuSeconds } = await usageOf(service.pid);
  for (let event = 0; event < events; event++) {
    const started = process.hrtime.bigint();
    const change = await moveImage(service.db, ticket.imageId, ['uploading'], 'uploading', {
      filename: `IMG_${event}.jpeg`,
    });
    const last = await fleet.heard(change?.ticket.version ?? 0, listeners);
    lastMs.push(Number(last - started) / 1e6);
  }
  const used = (await usageOf(service.pid)).cpuSeconds - cpuSeconds;
  return { lastMs, cpuMs: (used * 1000) / events };
}

/** The bare server has no database: from before the request to the last listener. The events are as long as ours. */
async function tellBare(url: string, fleet: Fleet, listeners: number, events: number): Promise<number[]> {
  const lastMs: number[] = [];
  for (let version = 1; version <= events; version++) {
    const body = `data: ${'x'.repeat(1_000)}\n\nid: ${version}\nevent: ticket\ndata: ${'x'.repeat(800)}\n\n`;
    const started = process.hrtime.bigint();
    await fetch(url, { method: 'POST', body });
    lastMs.push(Number((await fleet.heard(version, listeners)) - started) / 1e6);
  }
  return lastMs;
}
