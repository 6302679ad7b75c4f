/**
 * The disk thread: all that touches the bytes of staged files while they come in. The thread that serves requests would pay
 * more for each call to Node's own pool than a small write costs, for the wake-ups; and hashing 2 MiB there would take longer
 * than everything else that is done for them. Here bytes are written, hashed and looked at in one go, and while the disk
 * syncs some the next ones are written.
 */
import { createHash } from 'node:crypto';
import { closeSync, constants, fdatasync, fstatSync, fsync, openSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import type { FileBytes } from '../../image-format/inspect.ts';
import { BoundedMap } from '../../runtime/bounded-map.ts';
import { collectInSpareTime } from '../../runtime/idle-gc.ts';
import { BUFFER_BYTES, type Place } from './buffer-pool.ts';
import { shareRuns } from './coalesce.ts';
import { createWrite } from './direct-write.ts';
import { createLearnt, type Learnt } from './file-digest.ts';
import type { Checked, DiskWorkerData, Examined } from './io-thread.ts';

type Write = { kind: 'write'; imageId: string; position: number; total: number | null } & Place;
type Conclude = { kind: 'conclude'; imageId: string; size: number };
type Sync = { kind: 'sync'; imageId: string };
type Land = { kind: 'land'; imageId: string; position: number } & Place;
type Check = { kind: 'check'; imageId: string; most: number };
type Remove = { kind: 'remove'; imageId: string };
type Forget = { kind: 'forget'; imageId: string };

/** See `DiskThread`. */
export type Order = Write | Conclude | Sync | Land | Check | Remove | Forget;
/** Every order but `forget` is answered, under its number. */
export type Numbered = { number: number } & Order;
export type Answer = { number: number; value: unknown } | { number: number; error: DiskError };

/** `lost`: bytes that were written before may be gone, as the disk could not keep them. */
export type DiskError = NodeJS.ErrnoException & { lost?: boolean };

/** 20 MiB at most, if all their headers were still looked for. What falls out is read again, once, at its end. */
const REMEMBERED = 4_000;
const READ_BYTES = 256 * 1024;
const { directory, sniffs, memory } = workerData as DiskWorkerData;
const folder = openSync(directory, 'r');
const underway = new BoundedMap<string, Learnt>(REMEMBERED);
const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
const pathOf = (imageId: string) => join(directory, imageId);
const put = createWrite();
const syncFile = promisify(fdatasync);
const syncFolder = promisify(fsync);
// fsync(2): a new file's directory entry needs its own fsync, on the directory.
const syncEntries = shareRuns(() => syncFolder(folder));

collectInSpareTime();
parentPort?.on('message', (orders: Numbered[]) => {
  for (const order of orders) {
    if (order.kind === 'forget') underway.delete(order.imageId);
    else void answer(order, 'length' in order ? inTurn(order) : run(order)).then(tell);
  }
});

/** Of files, the last write of a full buffer: of such a one what comes next may be ordered before it has ended. */
const fullWrites = new Map<string, Promise<unknown>>();
/** After what comes before it in the file, and not at all when that fails: there would be a hole. */
function inTurn(order: Write | Land): Promise<unknown> {
  const { imageId, length } = order;
  const before = fullWrites.get(imageId);
  const written = before ? before.then(() => run(order)) : run(order);
  if (length < BUFFER_BYTES) return written;
  fullWrites.set(imageId, written);
  return written.finally(() => {
    if (fullWrites.get(imageId) === written) fullWrites.delete(imageId);
  });
}

let told: Answer[] = [];
/** What ends in one go is told in one go, as it was ordered. */
function tell(one: Answer): void {
  if (told.push(one) > 1) return;
  queueMicrotask(() => {
    parentPort?.postMessage(told);
    told = [];
  });
}

function run(order: Exclude<Order, Forget>): Promise<unknown> {
  switch (order.kind) {
    case 'write':
      return write(order);
    case 'land':
      return land(order);
    case 'conclude':
      return conclude(order);
    case 'sync':
      return sync(order);
    case 'check':
      return check(order);
    case 'remove':
      return remove(order);
  }
}

async function answer({ number }: Numbered, outcome: Promise<unknown>): Promise<Answer> {
  try {
    return { number, value: await outcome };
  } catch (error) {
    // Of an error only name, message and stack survive the way to another thread.
    const { message, code, lost } = error as DiskError;
    return { number, error: { name: 'Error', message, ...(code ? { code } : {}), ...(lost ? { lost } : {}) } };
  }
}

async function write({ imageId, position, total, at, length }: Write) {
  const bytes = new Uint8Array(memory, at, length);
  const file = openFor(imageId, position);
  try {
    const learnt = underway.get(imageId) ?? createLearnt(sniffs);
    await both(put(pathOf(imageId), file, position, bytes), hash(learnt, position, bytes));
    if (!underway.has(imageId)) underway.set(imageId, learnt);
    return await learnt.look(bytesOf(file, position, bytes), position + length, total);
  } catch (error) {
    // Anew.
    underway.delete(imageId);
    throw error;
  } finally {
    closeSync(file);
  }
}

/** What the disk does with bytes, and what is learnt of them meanwhile. When it ends, whichever way, nobody looks at them any more. */
async function both<T>(kept: Promise<void>, learning: Promise<T>): Promise<T> {
  const [disk, learnt] = await Promise.allSettled([kept, learning]);
  if (disk.status === 'rejected') throw disk.reason;
  if (learnt.status === 'rejected') throw learnt.reason;
  return learnt.value;
}

/** Once the disk has its order; in steps, as it is not to wait meanwhile for what others have ordered. */
async function hash(learnt: Learnt, position: number, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; done += READ_BYTES) {
    await setImmediate();
    learnt.pass(bytes.subarray(done, done + READ_BYTES), position + done);
  }
}

/**
 * Only the first byte makes a file: one that is gone meanwhile, as its upload has ended, must not come back. Nor is there to be
 * a hole in it: what comes before may have failed when the order was on its way.
 */
function openFor(imageId: string, position: number): number {
  const { O_RDWR, O_CREAT } = constants;
  const file = openSync(pathOf(imageId), position === 0 ? O_RDWR | O_CREAT : O_RDWR, 0o600);
  if (position === 0 || underway.get(imageId)?.hashed === position) return file;
  const { size } = fstatSync(file);
  if (size >= position) return file;
  closeSync(file);
  throw new Error(`the staged file ends at ${size}, before ${position}`);
}

/** What was learnt of a file, to be kept again by whoever goes on with it. */
function recall(imageId: string): Learnt {
  const learnt = underway.get(imageId) ?? createLearnt(sniffs);
  underway.delete(imageId);
  return learnt;
}

async function conclude({ imageId, size }: Conclude): Promise<Examined> {
  const file = openSync(pathOf(imageId), 'r');
  try {
    return await examine(file, recall(imageId), size);
  } finally {
    closeSync(file);
  }
}

/** Says what a whole file is. What was not hashed yet is read; `bytes` are those at hand, which begin at `position`. */
async function examine(file: number, before: Learnt, size: number, position?: number, bytes?: Uint8Array) {
  const learnt = before.hashed <= size ? before : createLearnt(sniffs);
  while (learnt.hashed < size) {
    const read = readSync(file, buffer, 0, Math.min(buffer.length, size - learnt.hashed), learnt.hashed);
    if (read === 0) throw new Error(`the staged file ends at ${learnt.hashed} of ${size} bytes`);
    learnt.pass(buffer.subarray(0, read), learnt.hashed);
  }
  return { inspection: await learnt.look(bytesOf(file, position, bytes), size, size), sha256: learnt.sha256() };
}

async function sync({ imageId }: Sync): Promise<void> {
  // An error of an earlier write to the disk shows here, though the file was closed since: nobody has seen it (errseq_t).
  const file = openSync(pathOf(imageId), 'r+');
  try {
    await syncFile(file);
  } finally {
    closeSync(file);
  }
  await syncEntries();
}

/** After a failed fsync Linux marks the pages clean that did not get to the disk, and the next one would succeed without them. */
async function lossOf(syncing: Promise<unknown>): Promise<void> {
  await syncing.catch((error: DiskError) => {
    throw Object.assign(error, { lost: true });
  });
}

async function land({ imageId, position, at, length }: Land): Promise<Examined> {
  const bytes = new Uint8Array(memory, at, length);
  const file = openFor(imageId, position);
  try {
    // In a moment, for all that are made just now. It is awaited last: nothing may write to a file that is closed.
    const entered = syncEntries();
    entered.catch(() => {});
    const learnt = recall(imageId);
    const written = put(pathOf(imageId), file, position, bytes);
    const durable = written.then(() => lossOf(syncFile(file).then(() => entered)));
    const examined = hash(learnt, position, bytes)
      // What was not hashed as it came is read from the file.
      .then(() => written)
      .then(() => examine(file, learnt, position + length, position, bytes));
    return await both(durable, examined);
  } finally {
    closeSync(file);
  }
}

// rm(3) would look first what it is.
async function remove({ imageId }: Remove): Promise<void> {
  unlinkSync(pathOf(imageId));
}

/** Bytes that a file may have lost or changed since it was received: before they are sent. */
async function check({ imageId, most }: Check): Promise<Checked> {
  const file = openSync(pathOf(imageId), 'r');
  try {
    const { size } = fstatSync(file);
    const sha256 = createHash('sha256');
    const md5 = createHash('md5');
    const content = size <= most ? Buffer.allocUnsafeSlow(size) : null;
    for (let offset = 0; offset < size; ) {
      // Uploads come between: of a large image this takes 100 ms.
      if (offset > 0) await setImmediate();
      const read = readSync(file, content ?? buffer, content ? offset : 0, Math.min(READ_BYTES, size - offset), offset);
      if (read === 0) throw new Error(`the staged file ends at ${offset} of ${size} bytes`);
      const bytes = content ? content.subarray(offset, offset + read) : buffer.subarray(0, read);
      sha256.update(bytes);
      md5.update(bytes);
      offset += read;
    }
    return { sha256: sha256.digest('hex'), md5: md5.digest('hex'), content };
  } finally {
    closeSync(file);
  }
}

/** The file; those of its bytes that are at hand, which begin at `position`, from memory. */
function bytesOf(file: number, position = 0, bytes: Uint8Array = new Uint8Array(0)): FileBytes {
  return {
    async read(target, offset, length, from) {
      const start = from - position;
      if (start < 0 || start >= bytes.length) return { bytesRead: readSync(file, target, offset, length, from) };
      const here = bytes.subarray(start, start + length);
      target.set(here, offset);
      return { bytesRead: here.length };
    },
  };
}
