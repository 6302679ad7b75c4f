/**
 * What people write by hand: a form upload received by busboy into a file, a queue in memory, `upload_stream` of the store's
 * SDK, and the file deleted. No users, no tickets, no fsync, no check of what the store has, nothing survives the process.
 * `GET /` tells how many photos the store has.
 */
import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { unlink } from 'node:fs/promises';
import { Agent, createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Busboy } from '@fastify/busboy';
import { v2 as cloudinary } from 'cloudinary';
import { parseCloudinaryUrl } from '../../src/storage/cloudinary/account.ts';
import { announce, directory } from './contender.ts';

const [, , , cloudinaryUrl = '', concurrency = '8'] = process.argv;
const agent = new Agent({ keepAlive: true, maxSockets: Number(concurrency) });
const account = parseCloudinaryUrl(cloudinaryUrl);
const queue: string[] = [];
let running = 0;
let stored = 0;

function receive(request: IncomingMessage): Promise<void> {
  return new Promise((resolve, reject) => {
    const { 'content-type': type = '' } = request.headers;
    const form = new Busboy({ headers: { 'content-type': type } });
    form.on('file', (_field, file) => {
      const name = randomUUID();
      pipeline(file, createWriteStream(join(directory, name))).then(() => {
        queue.push(name);
        work();
        resolve();
      }, reject);
    });
    form.on('error', reject);
    request.pipe(form);
  });
}

function work(): void {
  for (; running < Number(concurrency); running += 1) {
    const name = queue.shift();
    if (name === undefined) return;
    send(name).finally(() => {
      running -= 1;
      work();
    });
  }
}

async function send(name: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const options = { ...account, agent, public_id: name };
    const upload = cloudinary.uploader.upload_stream(options, (error) => (error ? reject(error) : resolve()));
    pipeline(createReadStream(join(directory, name)), upload).catch(reject);
  });
  await unlink(join(directory, name));
  stored += 1;
}

announce(
  createServer((request, response) => {
    if (request.method === 'GET') response.end(`${stored}`);
    else
      receive(request).then(
        () => response.writeHead(201, { 'Content-Length': 0 }).end(),
        () => response.destroy(),
      );
  }),
);
