import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startSandboxPostgres } from '../packages/sandbox/postgres.ts';
import { owedStatuses } from '../src/model/states.ts';
import type { RequestOf, Target } from './load.ts';
import { startProgram } from './program.ts';
import { type Service, startService } from './service.ts';
import { createEmptier } from './spool.ts';

/** One way to take images in, running in a process of its own. */
export type Contender = {
  name: string;
  pid: number;
  /** Prepares for a run of `images` and says how to send them; `body` is what each image is. */
  target(images: number, body: Buffer, chunkBytes: number | null): Promise<Target>;
  /** Resolves when what a run left in the background is done, and its bytes are off the disk. */
  settle(): Promise<void>;
  close(): Promise<void>;
};

const TUS = { 'Tus-Resumable': '1.0.0' };
const OCTETS = { 'Content-Type': 'application/offset+octet-stream' };

export async function startPlain(fsync: boolean): Promise<Contender> {
  const { url, pid, directory, close } = await startProgram('contenders/plain.ts', fsync ? ['--fsync'] : []);
  return {
    name: fsync ? 'plain + fsync' : 'plain pipeline',
    pid,
    target: async (_images, body, chunkBytes) => tusTarget(url, () => '/', body, chunkBytes),
    settle: createEmptier(directory),
    close,
  };
}

/** The least that hopla's promise costs, with a durable Postgres. */
export async function startBare(): Promise<Contender> {
  await using starting = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'hopla-bench-'));
  starting.defer(() => rm(folder, { recursive: true, force: true }));
  const postgres = await startSandboxPostgres({ directory: folder });
  starting.defer(() => postgres.close());
  const { url, pid, directory, close } = await startProgram('contenders/bare.ts', [postgres.databaseUrl]);
  starting.defer(close);
  const started = starting.move();
  return {
    name: 'the bare promise',
    pid,
    // In one request, whatever the others get.
    target: async (_images, body) => tusTarget(url, () => '/', body, null),
    settle: createEmptier(directory),
    close: () => started.disposeAsync(),
  };
}

export async function startStock(): Promise<Contender> {
  const { url, pid, directory, close } = await startProgram('contenders/stock.ts');
  return {
    name: 'stock @tus/server',
    pid,
    target: async (_images, body, chunkBytes) => tusTarget(url, () => '/files', body, chunkBytes),
    settle: createEmptier(directory),
    close,
  };
}

/** hopla as it is run, with a durable Postgres and the local Cloudinary in this process. */
export async function startHopla(workers: number): Promise<Contender> {
  const service = await startService({ TRANSFER_CONCURRENCY: `${workers}` });
  const { pid, close } = service;
  // Without a worker they stay with hopla, else with the store.
  const empty = createEmptier(workers > 0 ? service.blobsDirectory : service.stagingDirectory);
  return {
    name: workers > 0 ? 'hopla' : 'hopla, worker off',
    pid,
    target: (images, body, chunkBytes) => targetOf(service, images, body, chunkBytes),
    async settle() {
      while (workers > 0 && (await countOwed(service)) > 0) await new Promise((resolve) => setTimeout(resolve, 100));
      await empty();
    },
    close,
  };
}

async function countOwed({ db }: Pick<Service, 'db'>): Promise<number> {
  const row = await db('images').whereIn('status', owedStatuses).count('* as owed').first();
  return Number(row?.owed);
}

/** Opens tickets for so many images, and says how to send them. */
export async function targetOf(
  { url, token }: Pick<Service, 'url' | 'token'>,
  images: number,
  body: Buffer,
  chunkBytes: number | null,
): Promise<Target> {
  const headers = { Authorization: `Bearer ${token}` };
  const paths: string[] = [];
  for (let left = images; left > 0; left -= 1000) {
    const response = await fetch(`${url}/v1/tickets`, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ images: Math.min(left, 1000) }),
    });
    const { uploadUrl } = (await response.json()) as { uploadUrl: string };
    paths.push(new URL(uploadUrl).pathname);
  }
  const pathOf = (image: number) => paths[Math.floor(image / 1000)] ?? '';
  return tusTarget(url, pathOf, body, chunkBytes, headers);
}

function tusTarget(
  url: string,
  pathOf: (image: number) => string,
  body: Buffer,
  chunkBytes: number | null,
  headers: Record<string, string> = {},
): Target {
  const { hostname: host, port } = new URL(url);
  return { host, port: Number(port), requests: tusRequests(pathOf, body, chunkBytes, headers) };
}

/** The body with the creation, or the creation and then a PATCH for each chunk. */
function tusRequests(
  pathOf: (image: number) => string,
  body: Buffer,
  chunkBytes: number | null,
  more: Record<string, string>,
): RequestOf[] {
  const creation = { ...TUS, ...more, 'Upload-Length': body.length };
  if (chunkBytes === null)
    return [(image) => request('POST', pathOf(image), { ...creation, ...OCTETS, 'Content-Length': body.length }, body)];
  const offsets = Array.from({ length: Math.ceil(body.length / chunkBytes) }, (_, index) => index * chunkBytes);
  const patches = offsets.map((offset): RequestOf => {
    const chunk = body.subarray(offset, offset + chunkBytes);
    return (_image, location) =>
      request(
        'PATCH',
        location,
        { ...TUS, ...more, ...OCTETS, 'Upload-Offset': offset, 'Content-Length': chunk.length },
        chunk,
      );
  });
  return [(image) => request('POST', pathOf(image), { ...creation, 'Content-Length': 0 }), ...patches];
}

function request(method: string, path: string, headers: Record<string, string | number>, body?: Buffer): Buffer[] {
  const lines = Object.entries({ Host: 'bench', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`);
  return body ? [head, body] : [head];
}
