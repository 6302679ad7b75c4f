import { mkdir, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startBalancer } from './balancer.ts';
import { createClients } from './client.ts';
import { mountDisk } from './disk.ts';
import type { Evidence, Vitals } from './evidence.ts';
import { makeFolder } from './folder.ts';
import { hoplaTarget } from './hopla.ts';
import { openJournal } from './journal.ts';
import { unleash } from './nemesis.ts';
import { isBrief, type Options } from './options.ts';
import { makePlan } from './plan.ts';
import { createRandom } from './random.ts';
import { type Service, startService } from './service.ts';
import { stockTarget } from './stock.ts';
import { startStore } from './store.ts';
import type { Site, Target } from './target.ts';
import { readVitals } from './vitals.ts';

/** What came of a world, and the folder with its journal and logs. */
export type Outcome = { evidence: Evidence; directory: string; skipped: string[] };

/**
 * After the last disturbance, how long everything may take to come to rest. Recovery looks around once a minute, and an
 * image that failed again and again waits for up to half a minute.
 */
const DRAIN_MS = 150_000;
const REST_MS = 1_500;

/** Runs one world to its end: clients and disturbances, quiet, and a look at everything that is left. */
export async function runWorld(options: Options, tell: (line: string) => void, signal: AbortSignal): Promise<Outcome> {
  await using world = new AsyncDisposableStack();
  const { directory, end } = await makeFolder(options.seed);
  world.defer(end);
  world.defer(async () => {
    if (signal.aborted) await rm(directory, { recursive: true, force: true });
  });
  const journal = openJournal(join(directory, 'journal.jsonl'));
  world.defer(() => journal.close());
  const random = createRandom(options.seed);
  const plan = makePlan(options);
  const skipped: string[] = [];

  const disk = await mountDisk(join(directory, 'disk'));
  if (disk) world.defer(() => disk.close());
  else skipped.push('a full staging disk (mounting a tmpfs was refused)');
  const stagingDirectory = join(directory, 'disk', 'staging');
  await mkdir(stagingDirectory, { mode: 0o700 });
  const store = await startStore(join(directory, 'cloudinary'));
  world.defer(() => store.close());

  let url = '';
  const { cloudinaryUrl } = store;
  const site: Site = { directory, stagingDirectory, disk, cloudinaryUrl, url: () => url, journal };
  const target = await (options.target === 'stock' ? stockTarget(site) : hoplaTarget(site, plan));
  world.defer(() => target.close());

  const services: Service[] = [];
  for (let index = 0; index < options.processes; index++) {
    const service = await startTarget(target, index, site);
    world.defer(() => service.close());
    services.push(service);
  }
  for (const service of services)
    if (!(await service.untilReady(30_000))) throw new Error(`The target did not start; see ${directory}`);
  const balancer = await startBalancer(
    services.map(({ port }) => port),
    random.fork('network'),
  );
  world.defer(() => balancer.close());
  url = balancer.url;
  await target.begin();
  const look = () => lookAt(services, stagingDirectory);
  await delay(REST_MS);
  const before = await look();

  const clients = createClients(journal, options.processes);
  const brief = isBrief(options);
  const arena = { services, postgres: target.postgres, balancer, store, disk, clients, brief };
  tell(`${options.photos} photos in ${plan.tickets.length} tickets; everything in ${directory}`);
  const uploads = plan.tickets.map(async (ticket) => {
    await delay(ticket.startMs, undefined, { signal });
    await clients.upload(ticket, await target.open(ticket));
  });
  const uploading = Promise.allSettled(uploads);
  await unleash({ ...arena, random: random.fork('nemesis') }, options.minutes * 60_000, journal, tell, signal);

  tell(`${seconds(journal.now())} s  quiet; waiting until everything has come to rest`);
  balancer.hurry();
  const deadline = performance.now() + DRAIN_MS;
  await Promise.race([uploading, delay(DRAIN_MS, undefined, { signal })]);
  await target.settle();
  await untilAtRest(target, deadline, tell, signal);
  target.hushClients();
  // Every client has gone home.
  http.globalAgent.destroy();
  balancer.cut(1);
  await delay(REST_MS);
  tell(`${seconds(journal.now())} s  at rest; looking at what is left`);

  const evidence: Evidence = {
    plan,
    processes: options.processes,
    journal: journal.entries,
    records: await target.records(),
    ticketIds: target.ticketIds(),
    views: target.views(),
    assets: await store.assets(),
    staged: await target.staged(),
    vitals: { before, after: await look() },
  };
  await writeFile(join(directory, 'evidence.json'), JSON.stringify({ ...evidence, journal: journal.file }, null, 2));
  return { evidence, directory, skipped };
}

/** Removes everything that a world left. */
export async function forgetWorld({ directory }: Pick<Outcome, 'directory'>): Promise<void> {
  await rm(directory, { recursive: true, force: true });
}

function startTarget(target: Target, index: number, { directory, journal }: Site): Promise<Service> {
  const { program, environment: env, readyText } = target;
  return startService({ index, program, env, readyText, logFile: join(directory, `process-${index}.log`), journal });
}

async function lookAt(services: readonly Service[], staging: string): Promise<Vitals[]> {
  const looks = services.map((service) => readVitals(service, staging));
  return (await Promise.all(looks)).filter((vitals) => vitals !== null);
}

/** Waits until nothing is left to be done; says what is, should the time run out. */
async function untilAtRest(
  target: Target,
  deadline: number,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const pending = Object.entries(await target.pending()).filter(([, count]) => count > 0);
    if (pending.length === 0) return;
    if (performance.now() > deadline) {
      tell(`not at rest: ${pending.map(([what, count]) => `${count} ${what}`).join(', ')}`);
      return;
    }
    await delay(250, undefined, { signal });
  }
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1).padStart(7);
}
