/**
 * The physical limit: `pipeline(request, file)` for each request of a tus client, no protocol, no checks. With `--fsync` a file
 * is synced before its last byte is answered, which is the least that "received" can mean.
 */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { announce, directory } from './contender.ts';

const sync = process.argv.includes('--fsync');
/** Of files that came in part: all the bytes they will have. */
const totals = new Map<string, number>();

const server = createServer((request, response) => {
  receive(request).then(
    (name) => response.writeHead(201, { Location: `/${name}`, 'Content-Length': 0 }).end(),
    () => response.destroy(),
  );
});

/** Brings a body into a new file, or into that which the path names, and resolves to its name. */
async function receive(request: IncomingMessage): Promise<string> {
  const { 'upload-length': total, 'upload-offset': offset, 'content-length': length } = request.headers;
  const begun = offset === undefined ? null : (request.url ?? '').slice(1);
  const name = begun ?? randomUUID();
  const path = join(directory, name);
  const start = Number(offset ?? 0);
  const size = totals.get(name) ?? Number(total);
  await pipeline(request, createWriteStream(path, begun ? { flags: 'r+', start } : { flags: 'wx' }));
  if (start + Number(length) < size) {
    totals.set(name, size);
    return name;
  }
  totals.delete(name);
  if (!sync) return name;
  const handle = await open(path, 'r+');
  await handle.datasync();
  await handle.close();
  return name;
}

announce(server);
