import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { issueToken } from '../src/identity/tokens.ts';
import { createUser } from '../src/identity/users.ts';
import { jpeg } from '../test/support/images.ts';
import { type Figure, report } from './figures.ts';
import { load } from './load.ts';
import type { Part } from './part.ts';
import { stopProgram } from './program.ts';
import { type Service, startService } from './service.ts';
import { quantile } from './statistics.ts';

const IMAGES = 1_000;
const CONNECTIONS = 64;
const UPLOAD_BYTES = 64 * 1024;
const WARM_UP = 1_000;

/** What one token that reads a large ticket in a tight loop costs the uploads of another user. */
export const readers: Part = async ({ quick, say }) => {
  const service = await startService({ TRANSFER_CONCURRENCY: '0' });
  try {
    const victim = await uploaderOf(service);
    await victim(WARM_UP);
    const uploads = quick ? 300 : 1_500;
    const alone = await victim(uploads);
    const ticketUrl = await openUnfinished(service);
    say(`${CONNECTIONS} connections read a ticket of ${IMAGES} unfinished uploads`);
    const crowd = startReaders(ticketUrl, service.token);
    await delay(2_000);
    const beside = await victim(uploads);
    await stopProgram(crowd.child, 'SIGKILL');
    const first = await timeOf(ticketUrl, service.token);
    const figures: Figure[] = [
      { what: 'upload of 64 KiB by another user, median, alone', measured: quantile(alone, 0.5), unit: 'ms' },
      {
        what: `… beside ${CONNECTIONS} connections that read`,
        measured: quantile(beside, 0.5),
        unit: 'ms',
        target: { atMost: 2 * quantile(alone, 0.5) },
      },
      { what: '… p99, alone', measured: quantile(alone, 0.99), unit: 'ms' },
      { what: '… p99, beside them', measured: quantile(beside, 0.99), unit: 'ms' },
      { what: 'a detail when nobody else asks', measured: first, unit: 'ms' },
    ];
    return { figures, report: report(`one token reads in a loop (${crowd.counts()})`, figures) };
  } finally {
    await service.close();
  }
};

/** Uploads images one after the other over one connection, each into a new place; gives the milliseconds of each. */
async function uploaderOf(service: Service): Promise<(images: number) => Promise<number[]>> {
  const { id } = await createUser(service.db, { username: 'another' });
  const { token } = await issueToken(service.db, { userId: id });
  const { hostname, port, host } = new URL(service.url);
  const body = jpeg({ bytes: UPLOAD_BYTES });
  return async (images) => {
    const paths: string[] = [];
    for (let n = 0; n < images; n += IMAGES) paths.push(new URL(await openTicket(service, token)).pathname);
    const requestOf = (image: number) => [
      Buffer.from(
        `POST ${paths[Math.floor(image / IMAGES)]}/uploads HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n` +
          `Tus-Resumable: 1.0.0\r\nUpload-Length: ${body.length}\r\nContent-Type: application/offset+octet-stream\r\n` +
          `Content-Length: ${body.length}\r\n\r\n`,
      ),
      body,
    ];
    const run = await load({ host: hostname, port: Number(port), requests: [requestOf] }, images, 1);
    return run.latenciesMs;
  };
}

async function openTicket({ url }: Service, token: string): Promise<string> {
  const answer = await fetch(`${url}/v1/tickets`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ images: IMAGES }),
  });
  return answer.headers.get('Location') ?? '';
}

/** A ticket whose uploads were all begun, and none of which has a byte. */
async function openUnfinished(service: Service): Promise<string> {
  const ticketUrl = await openTicket(service, service.token);
  const headers = { Authorization: `Bearer ${service.token}`, 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' };
  for (let n = 0; n < IMAGES; n++) {
    const metadata = `filename ${Buffer.from(`photo ${randomUUID()}.jpg`).toString('base64')}`;
    const created = await fetch(`${ticketUrl}/uploads`, {
      method: 'POST',
      headers: { ...headers, 'Upload-Metadata': metadata },
    });
    if (created.status !== 201) throw new Error(`a creation was answered ${created.status}`);
  }
  return ticketUrl;
}

function startReaders(url: string, token: string) {
  const program = fileURLToPath(new URL('clients/readers.ts', import.meta.url));
  const child = spawn(process.execPath, [program, url, token, `${CONNECTIONS}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let last = '';
  child.stdout.on('data', (text) => {
    last = `${text}`.trim().split('\n').at(-1) ?? last;
  });
  return { child, counts: () => `answers by status: ${last}` };
}

async function timeOf(url: string, token: string): Promise<number> {
  await delay(1_000);
  const begun = performance.now();
  await (await fetch(url, { headers: { Authorization: `Bearer ${token}` } })).arrayBuffer();
  return performance.now() - begun;
}
