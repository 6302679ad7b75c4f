/**
 * The disk thread: what takes the CPU or waits for the disk, away from the thread that serves requests. There, MD5 and
 * SHA-256 of 2 MiB would take 3.5 ms, longer than everything else that is done for them; and each single call that Node
 * makes in its own pool costs that thread more than a small write itself.
 */
import { createHash, type Hash } from 'node:crypto';
import { closeSync, fdatasyncSync, fsyncSync, openSync, readSync, writeSync } from 'node:fs';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import type { FileDigests } from './disk-thread.ts';

export type Order =
  /** Hash the file up to `size`, which will not change any more; with a `number`, that is all of it and has an answer. */
  | { kind: 'hash'; number: number | null; imageId: string; path: string; size: number }
  /** Make a file of these bytes that survives a power cut, and hash it. */
  | { kind: 'land'; number: number; path: string; bytes: Uint8Array }
  | { kind: 'forget'; imageId: string };

export type Answer = { number: number; digests: FileDigests } | { number: number; error: unknown };

/** Hashes of the first `offset` bytes of a file. */
type Started = { offset: number; sha256: Hash; md5: Hash };

/** Two hash states of OpenSSL are less than 1 KiB: 10 MiB at most. What falls out is read again, once, at its end. */
const REMEMBERED = 10_000;
const READ_BYTES = 256 * 1024;
/** Files that land together; more would keep the first of them waiting for longer than they save. */
const MOST_LANDINGS = 32;

const { directory } = workerData as { directory: string };
const folder = openSync(directory, 'r');
const started = new LRUCache<string, Started>({ max: REMEMBERED });
const buffer = Buffer.allocUnsafeSlow(READ_BYTES);

parentPort?.on('message', (first: Order) => {
  const orders = [first];
  while (orders.length < MOST_LANDINGS && parentPort) {
    const next = receiveMessageOnPort(parentPort);
    if (!next) break;
    orders.push(next.message);
  }
  const answers = landTogether(orders.filter((order) => order.kind === 'land'));
  for (const order of orders) {
    if (order.kind === 'forget') started.delete(order.imageId);
    else if (order.kind === 'hash') answers.push(...hash(order));
  }
  if (answers.length > 0) parentPort?.postMessage(answers);
});

/** Writes every file first, so that the file system commits them together: the first fsync waits, the others find it done. */
function landTogether(orders: Extract<Order, { kind: 'land' }>[]): Answer[] {
  if (orders.length === 0) return [];
  const landed = orders.map((order) => ({ ...order, ...attempt(() => write(order)) }));
  const answers = landed.map(({ number, bytes, ...written }): Answer => {
    if ('error' in written) return { number, error: written.error };
    const synced = attempt(() => sync(written.value));
    if ('error' in synced) return { number, error: synced.error };
    return { number, digests: digestsOf(update(begin(), bytes)) };
  });
  // fsync(2): a new file's directory entry needs its own fsync, on the directory.
  const entries = attempt(() => fsyncSync(folder));
  return 'error' in entries ? landed.map(({ number }) => ({ number, error: entries.error })) : answers;
}

function attempt<T>(act: () => T): { value: T } | { error: unknown } {
  try {
    return { value: act() };
  } catch (error) {
    return { error };
  }
}

function write({ path, bytes }: { path: string; bytes: Uint8Array }): number {
  const file = openSync(path, 'wx', 0o600);
  try {
    for (let offset = 0; offset < bytes.length; ) offset += writeSync(file, bytes, offset);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function sync(file: number): void {
  try {
    fdatasyncSync(file);
  } finally {
    closeSync(file);
  }
}

function hash({ number, imageId, path, size }: Extract<Order, { kind: 'hash' }>): Answer[] {
  const before = started.get(imageId);
  started.delete(imageId);
  const reached = attempt(() => goThrough(path, size, before));
  if (number === null) {
    // A look ahead is a courtesy; who needs the digests asks again, and hears why there are none.
    if ('value' in reached) started.set(imageId, reached.value);
    return [];
  }
  return 'error' in reached ? [{ number, error: reached.error }] : [{ number, digests: digestsOf(reached.value) }];
}

function goThrough(path: string, size: number, before: Started | undefined): Started {
  const state = before && before.offset <= size ? before : begin();
  const file = openSync(path, 'r');
  try {
    while (state.offset < size) {
      const bytes = readSync(file, buffer, 0, Math.min(buffer.length, size - state.offset), state.offset);
      if (bytes === 0) throw new Error(`the staged file ends at ${state.offset} of ${size} bytes`);
      update(state, buffer.subarray(0, bytes));
    }
    return state;
  } finally {
    closeSync(file);
  }
}

function begin(): Started {
  return { offset: 0, sha256: createHash('sha256'), md5: createHash('md5') };
}

function update(state: Started, bytes: Uint8Array): Started {
  state.sha256.update(bytes);
  state.md5.update(bytes);
  state.offset += bytes.length;
  return state;
}

function digestsOf({ sha256, md5 }: Started): FileDigests {
  return { sha256: sha256.digest('hex'), md5: md5.digest('hex') };
}
