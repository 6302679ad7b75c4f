import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Service } from './service.ts';
import { cpuSecondsOfFamily, cpuSecondsOfPostgres } from './usage.ts';

/** What is sent: so many images after those that warm up the sender, so many at once. */
export type Backlog = { images: number; warmUp: number; concurrency: number };

/** What it took, without the warm-up: CPU in milliseconds per image, of who sends, the database and the store. */
export type Drain = { images: number; seconds: number; cpuMs: { sender: number; postgres: number; store: number } };

/** A look is a query by the process in which the store runs. */
const LOOK_MS = 100;

/** Sends what is queued by the workers, until all of it is recorded as stored. */
export async function drainByWorkers(service: Service, { images, warmUp, concurrency }: Backlog): Promise<Drain> {
  const { db } = service;
  const countStored = async () => Number((await db('tickets').sum('stored as stored').first())?.stored);
  const untilStored = async (wanted: number) => {
    for (;;) {
      const stored = await countStored();
      if (stored >= wanted) return stored;
      await delay(LOOK_MS);
    }
  };
  const before = await countStored();
  const { pid } = await service.startAgain({ TRANSFER_CONCURRENCY: `${concurrency}` });
  const warm = await untilStored(before + warmUp);
  const end = await startMeter(service, pid);
  const stored = await untilStored(before + warmUp + images);
  return end(stored - warm);
}

/** Sends the files of a folder by the store's SDK alone, into a folder of the store. */
export async function drainBySdk(
  service: Service,
  { directory, folder }: { directory: string; folder: string },
  { images, warmUp, concurrency }: Backlog,
): Promise<Drain> {
  const program = fileURLToPath(new URL('contenders/sdk.ts', import.meta.url));
  const child = spawn(process.execPath, [program, directory, `${concurrency}`, folder, `${warmUp}`], {
    env: { ...process.env, CLOUDINARY_URL: service.cloudinary.cloudinaryUrl },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hear = async (what: string) => {
    if ((await lines.next()).value !== what) throw new Error(`the SDK's loop did not get as far as ${what}`);
  };
  await hear('warm');
  const end = await startMeter(service, child.pid ?? 0);
  await hear('sent');
  const drain = await end(images);
  child.stdin.end();
  await once(child, 'exit');
  return drain;
}

/** Everything there is takes part in either drain; the store runs in this process. */
async function startMeter({ postgresDirectory }: Service, sender: number) {
  const look = async () => ({
    at: performance.now(),
    store: process.cpuUsage(),
    sender: await cpuSecondsOfFamily(sender),
    postgres: await cpuSecondsOfPostgres(postgresDirectory),
  });
  const begun = await look();
  return async (images: number): Promise<Drain> => {
    const ended = await look();
    const { user, system } = process.cpuUsage(begun.store);
    return {
      images,
      seconds: (ended.at - begun.at) / 1000,
      cpuMs: {
        sender: ((ended.sender - begun.sender) * 1000) / images,
        postgres: ((ended.postgres - begun.postgres) * 1000) / images,
        store: (user + system) / 1000 / images,
      },
    };
  };
}
