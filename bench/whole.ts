import { readFile, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { jpeg } from '../test/support/images.ts';
import { targetOf } from './contenders.ts';
import { load, type Target } from './load.ts';
import { type Program, startProgram } from './program.ts';
import { type Service, startService } from './service.ts';
import { median } from './statistics.ts';
import { cpuSecondsOfFamily, cpuSecondsOfPostgres } from './usage.ts';

export type WholeOptions = { sizes: number[]; images: number; warmUp: number; connections: number; rounds: number };

/** One run of the whole job: milliseconds of CPU per photo of each process, and full garbage collections in all. */
export type Job = {
  imagesPerSecond: number;
  receiverCpuMs: number;
  postgresCpuMs: number;
  storeCpuMs: number;
  clientCpuMs: number;
  markCompacts: number;
};
export type WholeRow = { bytes: number; images: number; contender: string; jobs: Job[] };

/** A way to take photos in and bring them to the store, in a process of its own. */
type Runner = {
  name: string;
  pid: number;
  postgresDirectory: string | null;
  target(images: number, body: Buffer): Promise<Target>;
  /** Photos that are in the store by now. */
  countStored(): Promise<number>;
};

/** A look is one query. */
const LOOK_MS = 25;
const CONCURRENCY = 8;

/** From the first POST to the last photo in the store: hopla, and a plain script of the store's SDK, in turns. */
export async function benchWhole(options: WholeOptions, say: (line: string) => void): Promise<WholeRow[]> {
  await using started = new AsyncDisposableStack();
  const gcLog = join(tmpdir(), `hopla-bench-gc-${process.pid}`);
  const store = await startProgram('contenders/lean-store.ts');
  started.defer(() => store.close());
  const cloudinaryUrl = `cloudinary://123456789012345:bench-secret@bench?upload_prefix=${store.url}`;
  const preload = `--import ${new URL('count-gc.ts', import.meta.url).href}`;
  const tracing = { GC_LOG: gcLog, NODE_OPTIONS: preload };
  const service = await startService({
    TRANSFER_CONCURRENCY: `${CONCURRENCY}`,
    CLOUDINARY_URL: cloudinaryUrl,
    ...tracing,
  });
  started.defer(() => service.close());
  const script = await startProgram('contenders/script.ts', [cloudinaryUrl, `${CONCURRENCY}`], tracing);
  started.defer(() => script.close());
  const runners = [hopla(service), byScript(script)];

  const rows: WholeRow[] = [];
  for (const bytes of options.sizes) {
    const images = Math.max(40, Math.round(options.images * Math.min(1, (2 * 1024 * 1024) / bytes)));
    const found = runners.map(({ name }): WholeRow => ({ bytes, images, contender: name, jobs: [] }));
    for (let round = 0; round <= options.rounds; round++) {
      for (const [index, runner] of runners.entries()) {
        const count = round === 0 ? Math.min(images, options.warmUp) : images;
        const job = await run(runner, count, bytes, { connections: options.connections, store, gcLog });
        if (round > 0) found[index]?.jobs.push(job);
      }
    }
    for (const { contender, jobs } of found)
      say(`${bytes} bytes, ${contender}: ${median(jobs.map((job) => job.imagesPerSecond)).toFixed(1)}/s`);
    rows.push(...found);
  }
  return rows;
}

async function run(
  runner: Runner,
  images: number,
  bytes: number,
  { connections, store, gcLog }: { connections: number; store: Program; gcLog: string },
): Promise<Job> {
  const target = await runner.target(images, jpeg({ bytes }));
  const before = await runner.countStored();
  await writeFile(gcLog, '');
  const look = async () => ({
    receiver: await cpuSecondsOfFamily(runner.pid),
    postgres: runner.postgresDirectory ? await cpuSecondsOfPostgres(runner.postgresDirectory) : 0,
    store: await cpuSecondsOfFamily(store.pid),
  });
  const begun = await look();
  const startedAt = performance.now();
  const { clientCpuSeconds } = await load(target, images, connections);
  while ((await runner.countStored()) < before + images) await delay(LOOK_MS);
  const seconds = (performance.now() - startedAt) / 1000;
  const ended = await look();
  const msPerImage = (cpuSeconds: number) => (cpuSeconds * 1000) / images;
  const collections = await readFile(gcLog, 'utf8');
  await truncate(gcLog);
  return {
    imagesPerSecond: images / seconds,
    receiverCpuMs: msPerImage(ended.receiver - begun.receiver),
    postgresCpuMs: msPerImage(ended.postgres - begun.postgres),
    storeCpuMs: msPerImage(ended.store - begun.store),
    clientCpuMs: msPerImage(clientCpuSeconds),
    markCompacts: collections.split('\n').length - 1,
  };
}

function hopla(service: Service): Runner {
  return {
    name: 'hopla',
    pid: service.pid,
    postgresDirectory: service.postgresDirectory,
    target: (images, body) => targetOf(service, images, body, null),
    countStored: async () => Number((await service.db('tickets').sum('stored as stored').first())?.stored ?? 0),
  };
}

const BOUNDARY = 'hopla-bench-boundary';

function byScript(script: Program): Runner {
  const { hostname: host, port } = new URL(script.url);
  return {
    name: 'a script of the SDK',
    pid: script.pid,
    postgresDirectory: null,
    async target(_images, body) {
      const head = Buffer.from(
        `--${BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n`,
      );
      const tail = Buffer.from(`\r\n--${BOUNDARY}--\r\n`);
      const length = head.length + body.length + tail.length;
      const request = `POST / HTTP/1.1\r\nHost: bench\r\nContent-Type: multipart/form-data; boundary=${BOUNDARY}\r\nContent-Length: ${length}\r\n\r\n`;
      return { host, port: Number(port), requests: [() => [Buffer.from(request), head, body, tail]] };
    },
    countStored: async () => Number(await (await fetch(script.url)).text()),
  };
}
