import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { CALM_MS } from '../src/runtime/idle-gc.ts';
import { jpeg } from '../test/support/images.ts';
import { type Figure, report } from './figures.ts';
import type { Part } from './part.ts';
import { startProgram } from './program.ts';
import { type Service, startService } from './service.ts';
import { usageOf } from './usage.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const SLOW = 500;
/** Each slow client sends so much, so often: 16 KiB a second, as a phone at the edge of its network does. */
const PIECE_BYTES = 4 * KIB;
const PIECE_MS = 250;
const SLOW_MS = 12_000;
/** What is left over from starting is gone by then. */
const SETTLE_MS = CALM_MS + 5_000;
const TUS = 'Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream';

/** What the gateway's process has resident while it does nothing, while many send slowly, and while one sends much. */
export const memory: Part = async ({ quick, say }) => {
  const largeBytes = (quick ? 256 : 2048) * MIB;
  const idle = await inService({}, async (service) => {
    say('idle');
    await delay(SETTLE_MS);
    return (await usageOf(service.pid)).residentBytes;
  });
  const slow = await inService({ TRANSFER_CONCURRENCY: '0' }, async (service) => {
    say(`${SLOW} slow uploads`);
    const path = await openTicket(service, SLOW + 50);
    return slowUploads(service.url, path, service.token, service.pid);
  });
  const stock = await startProgram('contenders/stock.ts');
  let stockSlow: number;
  try {
    say(`${SLOW} slow uploads to the stock server`);
    stockSlow = await slowUploads(stock.url, '/files', '', stock.pid);
  } finally {
    await stock.close();
  }
  const settings = { TRANSFER_CONCURRENCY: '0', MAX_IMAGE_BYTES: `${4096 * MIB}` };
  const peaks: number[] = [];
  for (const bytes of [2 * MIB, largeBytes]) {
    peaks.push(
      await inService(settings, async (service) => {
        say(`one upload of ${bytes / MIB} MiB`);
        const path = await openTicket(service, 50);
        return peakOfLarge(service, path, bytes);
      }),
    );
  }
  const [small = 0, large = 0] = peaks;
  const figures: Figure[] = [
    { what: 'idle, workers on', measured: idle / MIB, unit: 'MiB', target: { atMost: 120 } },
    {
      what: `each of ${SLOW} slow uploads at once`,
      measured: slow / SLOW / KIB,
      unit: 'KiB',
      target: { atMost: 64 },
      peer: { name: 'stock @tus/server', measured: stockSlow / SLOW / KIB },
    },
    {
      what: `peak after one upload of ${largeBytes / MIB} MiB`,
      measured: large / MIB,
      unit: 'MiB',
      peer: { name: 'one of 2 MiB', measured: small / MIB },
    },
    { what: '… as a ratio', measured: large / small, unit: '×', target: { atMost: 1.25 } },
  ];
  return { figures, report: report('Memory of the gateway', figures) };
};

async function inService<T>(settings: Record<string, string>, use: (service: Service) => Promise<T>): Promise<T> {
  const service = await startService(settings);
  try {
    return await use(service);
  } finally {
    await service.close();
  }
}

async function openTicket({ url, token }: Service, images: number): Promise<string> {
  const response = await fetch(`${url}/v1/tickets`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ images }),
  });
  const { uploadUrl } = (await response.json()) as { uploadUrl: string };
  return new URL(uploadUrl).pathname;
}

/** By how many bytes a server grows while many send to it slowly; some fast ones before that warm it up. */
async function slowUploads(url: string, path: string, token: string, pid: number): Promise<number> {
  const body = jpeg({ bytes: MIB });
  for (let count = 0; count < 50; count++)
    await finished(await begin(url, path, token, 64 * KIB, jpeg({ bytes: 64 * KIB })));
  await delay(SETTLE_MS);
  const before = (await usageOf(pid)).residentBytes;
  const sockets: Socket[] = [];
  for (let count = 0; count < SLOW; count++) {
    sockets.push(await begin(url, path, token, MIB, body.subarray(0, PIECE_BYTES)));
  }
  let sent = PIECE_BYTES;
  let most = 0;
  const until = performance.now() + SLOW_MS;
  while (performance.now() < until) {
    await delay(PIECE_MS);
    for (const socket of sockets) socket.write(body.subarray(sent, sent + PIECE_BYTES));
    sent += PIECE_BYTES;
    most = Math.max(most, (await usageOf(pid)).residentBytes);
  }
  const cut = sockets.filter((socket) => socket.destroyed).length;
  if (cut > 0) throw new Error(`${cut} of the slow uploads were cut`);
  for (const socket of sockets) socket.destroy();
  return most - before;
}

/** The most a gateway ever had, after an upload of so many bytes; warmed up with small ones. */
async function peakOfLarge({ url, token, pid }: Service, path: string, bytes: number): Promise<number> {
  for (let count = 0; count < 20; count++)
    await finished(await begin(url, path, token, 2 * MIB, jpeg({ bytes: 2 * MIB })));
  const head = jpeg({ bytes: MIB });
  const socket = await begin(url, path, token, bytes, head);
  const piece = Buffer.alloc(MIB, 7);
  for (let sent = head.length; sent < bytes; sent += piece.length) {
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  await finished(socket);
  return (await usageOf(pid)).peakBytes;
}

/** Sends the headers of a creation of `length` bytes, and the first of these. */
async function begin(url: string, path: string, token: string, length: number, first: Buffer): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  const authorization = token ? `Authorization: Bearer ${token}\r\n` : '';
  socket.write(
    `POST ${path} HTTP/1.1\r\nHost: bench\r\n${authorization}${TUS}\r\nUpload-Length: ${length}\r\nContent-Length: ${length}\r\n\r\n`,
  );
  socket.write(first);
  return socket;
}

async function finished(socket: Socket): Promise<void> {
  const [answer] = await new Promise<[Buffer]>((resolve, reject) => {
    socket.once('data', (data) => resolve([data]));
    socket.once('close', () => reject(new Error('the connection ended before the answer')));
  });
  if (!answer.toString('latin1').startsWith('HTTP/1.1 201')) throw new Error(answer.toString('latin1'));
  socket.destroy();
}
