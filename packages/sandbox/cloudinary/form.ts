import { createHash } from 'node:crypto';
import { closeSync, fsync, openSync, writeSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { Busboy, type BusboyInstance } from '@fastify/busboy';

/** Form fields by name; `name[]` fields come as one value joined by commas, which is how they are signed. */
export type Fields = ReadonlyMap<string, string>;
export type ReceivedFile = { path: string; bytes: number; md5: string; filename: string };

/** How the reading of a form ended. Only `received` has read everything; after the others the request is paused. */
export type Reception =
  | { outcome: 'received'; fields: Fields; file: ReceivedFile | null }
  /** `onFile` said not to read the file. */
  | { outcome: 'unread' }
  /** The file reached the number of bytes at which `onFile` wanted to stop. */
  | { outcome: 'cut' }
  /** The client went away in the middle. */
  | { outcome: 'gone' }
  | { outcome: 'malformed'; message: string };

export type FormOptions = {
  /** Where the file part goes. Created here, durable on `received`; the caller removes it. */
  path: string;
  /** Called where the file part begins, with the fields before it. A number is the byte at which to stop reading. */
  onFile(fields: Fields): 'read' | 'leave' | number;
  onBytes(total: number): void;
};

class Cut extends Error {}

const sync = promisify(fsync);

/** Reads a multipart form: fields into memory (1 MB each at most), the part named `file` to disk. */
export async function receiveForm(req: IncomingMessage, options: FormOptions): Promise<Reception> {
  const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<Reception | 'parsed'>();
  const fields = new Map<string, string>();
  const files: Promise<ReceivedFile>[] = [];
  let parser: BusboyInstance;
  try {
    parser = new Busboy({ headers: { ...req.headers, 'content-type': req.headers['content-type'] ?? '' } });
  } catch (error) {
    return { outcome: 'malformed', message: messageOf(error) };
  }

  const stop = new AbortController();
  // Its types deny it, but a part without a name comes with none.
  parser.on('field', (name: string | undefined, value) => addField(fields, name ?? '', value));
  parser.on('file', (name, stream, filename) => {
    // The parser emits this when the form ends inside the part; a stream that was destroyed has its error from us.
    stream.on('error', (error) => stream.destroyed || end({ outcome: 'malformed', message: messageOf(error) }));
    if (name !== 'file' || files.length > 0) return void stream.resume();
    const order = options.onFile(fields);
    if (order === 'leave') return end({ outcome: 'unread' });
    const limit = order === 'read' ? Number.POSITIVE_INFINITY : order;
    const file = spool(stream, filename, limit, options, stop.signal);
    files.push(file);
    file.catch((error) => (error instanceof Cut ? end({ outcome: 'cut' }) : fail(error)));
  });
  parser.on('error', (error) => end({ outcome: 'malformed', message: messageOf(error) }));
  parser.on('finish', () => end('parsed'));
  req.once('error', () => end({ outcome: 'gone' }));

  try {
    // pipe and not pipeline: that one destroys the request when reading stops early, and with it the very connection
    // on which several faults still have something to do.
    req.pipe(parser);
    const reception = await ended;
    if (reception !== 'parsed') return reception;
    const [file = null] = await Promise.all(files);
    return { outcome: 'received', fields, file };
  } finally {
    req.unpipe(parser);
    stop.abort();
    // The file is closed before the caller removes it.
    await Promise.allSettled(files);
  }
}

/**
 * Writes a file part to disk, and resolves once it is durable there. Each piece is written as it comes: that takes the page
 * cache microseconds, and spares a queue, a second stream and their promises.
 */
async function spool(
  stream: Readable,
  filename: string,
  limit: number,
  { path, onBytes }: FormOptions,
  signal: AbortSignal,
): Promise<ReceivedFile> {
  const md5 = createHash('md5');
  let bytes = 0;
  const file = openSync(path, 'wx', 0o600);
  try {
    const { promise: ended, resolve, reject } = Promise.withResolvers<void>();
    const abandon = () => reject(signal.reason);
    signal.addEventListener('abort', abandon, { once: true });
    stream.once('error', reject);
    stream.once('end', resolve);
    stream.on('data', (chunk: Buffer) => {
      if (bytes >= limit) return reject(new Cut());
      try {
        const taken = chunk.subarray(0, limit - bytes);
        md5.update(taken);
        writeAll(file, taken);
        bytes += taken.length;
        onBytes(bytes);
        if (bytes >= limit) reject(new Cut());
      } catch (error) {
        // ENOSPC and the like.
        reject(error);
      }
    });
    await ended.finally(() => stream.removeAllListeners('data').pause());
    // So that the rename that follows publishes bytes that are on the disk.
    await sync(file);
  } finally {
    closeSync(file);
  }
  return { path, bytes, md5: md5.digest('hex'), filename };
}

function writeAll(file: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
}

function addField(fields: Map<string, string>, name: string, value: string): void {
  const key = name.replace(/\[\d*\]$/, '');
  const before = key === name ? undefined : fields.get(key);
  fields.set(key, before === undefined ? value : `${before},${value}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
