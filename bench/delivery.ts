import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { readRows } from '../test/support/announcement.ts';
import { jpeg } from '../test/support/images.ts';
import { targetOf } from './contenders.ts';
import { load } from './load.ts';
import { type Service, startService } from './service.ts';
import { usageOf } from './usage.ts';

type Drain = { images: number; seconds: number; cpuMsPerImage: number };

export type DeliveryFigures = {
  concurrency: number;
  bytes: number;
  /** The SDK in a loop before and after, and hopla between. */
  sdk: Drain[];
  hopla: Drain;
  ratio: number;
  /** Medians, in milliseconds: a transaction of one row, and from the commit of a lone image to its first byte at the store. */
  commitMs: number;
  firstByteMs: number;
};

type DeliveryOptions = { images: number; bytes: number; concurrency: number; lone: number };

/** Images that were uploaded while no worker ran, sent by the workers, and the same files by the store's SDK alone. */
export async function benchDelivery(
  { images, bytes, concurrency, lone }: DeliveryOptions,
  say: (line: string) => void,
): Promise<DeliveryFigures> {
  const service = await startService({ TRANSFER_CONCURRENCY: '0' });
  try {
    say(`queueing ${images} images of ${bytes} bytes`);
    await upload(service, images, bytes, 8);
    const copies = join(service.stagingDirectory, '..', 'copies');
    await cp(service.stagingDirectory, copies, { recursive: true, filter: (path) => !path.includes('/.') });
    const sdk = [await drainBySdk(service, copies, concurrency, 'before', say)];
    say('the workers');
    const { url, ...hopla } = await drain(service, images, concurrency);
    sdk.push(await drainBySdk(service, copies, concurrency, 'after', say));
    say('lone images');
    const commitMs = await commitTime(service, lone);
    const firstByteMs = await firstByteTime({ ...service, url }, lone, bytes);
    const rateOf = (drains: Drain[]) => sum(drains, 'images') / sum(drains, 'seconds');
    return { concurrency, bytes, sdk, hopla, ratio: rateOf([hopla]) / rateOf(sdk), commitMs, firstByteMs };
  } finally {
    await service.close();
  }
}

async function upload(service: Service, images: number, bytes: number, connections: number): Promise<void> {
  const target = await targetOf(service, images, jpeg({ bytes }), null);
  await load(target, images, connections);
}

/** From the first call at the store to the last image recorded as stored. */
async function drain(service: Service, images: number, concurrency: number) {
  const { db, cloudinary } = service;
  const first = cloudinary.ledger
    .waitFor((entries) => entries.some(({ publicId }) => publicId?.startsWith('hopla/')), 60_000)
    .then(() => performance.now());
  const { url, pid } = await service.startAgain({ TRANSFER_CONCURRENCY: `${concurrency}` });
  const started = await first;
  for (;;) {
    const row = await db('images').where({ status: 'stored' }).count('* as stored').first();
    if (Number(row?.stored) === images) break;
    await delay(100);
  }
  const seconds = (performance.now() - started) / 1000;
  const { cpuSeconds } = await usageOf(pid);
  return { url, images, seconds, cpuMsPerImage: (cpuSeconds * 1000) / images };
}

async function drainBySdk(
  { cloudinary }: Service,
  directory: string,
  concurrency: number,
  folder: string,
  say: (line: string) => void,
): Promise<Drain> {
  say('the SDK alone');
  const program = fileURLToPath(new URL('contenders/sdk.ts', import.meta.url));
  const child = spawn(process.execPath, [program, directory, `${concurrency}`, folder], {
    env: { ...process.env, CLOUDINARY_URL: cloudinary.cloudinaryUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return (await json(child.stdout)) as Drain;
}

async function commitTime({ db }: Service, times: number): Promise<number> {
  await db.raw('CREATE TABLE bench_commits (n integer)');
  const samples: number[] = [];
  for (let n = 0; n < times; n++) {
    const begun = performance.now();
    await db.raw('INSERT INTO bench_commits VALUES (?)', [n]);
    samples.push(performance.now() - begun);
  }
  return median(samples);
}

/** A commit is what a listener of the database hears of it. */
async function firstByteTime(service: Service, times: number, bytes: number): Promise<number> {
  const listener = new pg.Client({ connectionString: service.databaseUrl });
  await listener.connect();
  try {
    const committed = new Map<string, number>();
    const heard = new EventEmitter();
    listener.on('notification', ({ payload = '' }) => {
      for (const { image } of readRows(payload)) {
        if (image?.status !== 'received') continue;
        committed.set(image.id, performance.now());
        heard.emit(image.id);
      }
    });
    await listener.query('LISTEN hopla_changes');
    const samples: number[] = [];
    for (let n = 0; n < times; n++) {
      const known = new Set(service.cloudinary.ledger.entries().map(({ publicId }) => publicId));
      let image = '';
      const arrived = service.cloudinary.ledger
        .waitFor((entries) => {
          const publicId = entries.at(-1)?.publicId ?? '';
          if (known.has(publicId)) return false;
          image = publicId.slice('hopla/'.length);
          return true;
        }, 10_000)
        .then(() => performance.now());
      await upload(service, 1, bytes, 1);
      const at = await arrived;
      // The store may be the first to hear of it.
      if (!committed.has(image)) await once(heard, image);
      samples.push(at - (committed.get(image) ?? Number.NaN));
      // So that every one finds the workers idle.
      await delay(50);
    }
    return median(samples);
  } finally {
    await listener.end();
  }
}

function sum(drains: Drain[], key: 'images' | 'seconds'): number {
  return drains.reduce((total, drain) => total + drain[key], 0);
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
