/**
 * The physical limit: `pipeline(request, file)`, no protocol, no checks. With `--fsync` the file is synced before the
 * answer, which is the least that "received" can mean.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { announce, directory } from './contender.ts';

const sync = process.argv.includes('--fsync');

const server = createServer((request, response) => {
  receive(request).then(
    () => response.writeHead(201, { 'Content-Length': 0 }).end(),
    () => response.destroy(),
  );
});

async function receive(request: NodeJS.ReadableStream): Promise<void> {
  const path = join(directory, randomUUID());
  await pipeline(request, createWriteStream(path));
  if (!sync) return;
  const handle = await open(path, 'r+');
  await handle.datasync();
  await handle.close();
}

announce(server);
