import { mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { createImageInspector, type Inspection } from '../../src/uploads/image-header.ts';
import { type Case, corpus, makeCase, systematic } from './image-cases.ts';

/** What the supervisor in `image-header.ts` hands over; `current` tells it which case is running. */
export type Task = { seed: number; from: number; to: number; cpuMs: number; current: Int32Array };
export type Failure = { index: number; name: string; what: string };
export type Message =
  | { failure: Failure }
  | { done: { slowestMs: number; slowest: string; verdicts: Record<string, number> } };

const maxReads = 2048;
const maxReadBytes = 64 * 1024;
const maxGrowthBytes = 1024 * 1024;

/** Judges the cases of the task. Runs in a worker thread, because only a thread can be stopped in an endless loop. */
async function judgeAll({ seed, from, to, cpuMs, current }: Task, tell: (message: Message) => void): Promise<void> {
  const files = corpus();
  const fixed = systematic(files);
  const folder = mkdtempSync(join(tmpdir(), 'image-fuzz-'));
  const handle = await open(join(folder, 'staged'), 'w+');
  const done = { slowestMs: 0, slowest: 'none', verdicts: {} as Record<string, number> };
  try {
    for (let index = from; index < to; index += 1) {
      Atomics.store(current, 0, index);
      const one = makeCase(seed, index, files, fixed);
      const fail = (what: string) => tell({ failure: { index, name: one.name, what } });
      // The rest of the machine may steal cache and garbage may be due: slow is what is slow thrice.
      let ms = Number.POSITIVE_INFINITY;
      for (let tries = 0; tries < 3 && ms > cpuMs; tries += 1) {
        const started = process.threadCpuUsage();
        const verdict = await judge(one, handle).catch((error: unknown) => String(error));
        const { user, system } = process.threadCpuUsage(started);
        ms = Math.min(ms, (user + system) / 1000);
        if (tries > 0) continue;
        if (typeof verdict === 'string') fail(verdict);
        else {
          const key = verdict.state === 'image' ? verdict.header.format : verdict.state;
          done.verdicts[key] = (done.verdicts[key] ?? 0) + 1;
        }
      }
      if (ms > cpuMs) fail(`took ${ms} ms of CPU`);
      if (ms > done.slowestMs) Object.assign(done, { slowestMs: ms, slowest: `${index} ${one.name}` });
    }
  } finally {
    await handle.close();
    rmSync(folder, { recursive: true });
  }
  tell({ done });
}

/** The verdict on the whole file, or what is wrong with it as a string. */
async function judge({ bytes }: Case, handle: FileHandle): Promise<Inspection | string> {
  const before = process.memoryUsage().arrayBuffers;
  const whole = createImageInspector().prefix(bytes, bytes.length);
  if (process.memoryUsage().arrayBuffers - before > maxGrowthBytes) return 'allocated for a prefix';
  if (whole.state === 'need-more') return 'needs more than the whole file';
  const early = growing(bytes, whole);
  if (early) return early;
  return (await fromFile(bytes, handle, whole)) ?? whole;
}

/** Asks as a careful upload does, each time with as many bytes as the last answer needs, while the length is unknown. */
function growing(bytes: Uint8Array, whole: Inspection): string | undefined {
  const inspector = createImageInspector();
  for (let length = 0; ; ) {
    const verdict = inspector.prefix(bytes.subarray(0, length), null);
    if (verdict.state !== 'need-more')
      return isDeepStrictEqual(verdict, whole) ? undefined : 'an early verdict differs';
    if (verdict.needs <= length) return 'needs what is there';
    if (verdict.needs > bytes.length) {
      return whole.state === 'not-image' && whole.reason === 'truncated' ? undefined : 'undecided at the end';
    }
    length = verdict.needs;
  }
}

async function fromFile(bytes: Uint8Array, handle: FileHandle, whole: Inspection): Promise<string | undefined> {
  await handle.truncate(0);
  if (bytes.length > 0) await handle.write(bytes, 0, bytes.length, 0);
  let reads = 0;
  let largest = 0;
  const counted = {
    read: (buffer: Uint8Array, offset: number, length: number, position: number) => {
      reads += 1;
      largest = Math.max(largest, buffer.length);
      return handle.read(buffer, offset, length, position);
    },
  };
  const verdict = await createImageInspector().file(counted as Pick<FileHandle, 'read'>, bytes.length);
  if (!isDeepStrictEqual(verdict, whole)) return 'the file is judged otherwise than its bytes';
  if (largest > maxReadBytes) return `read ${largest} bytes at once`;
  // A short read is followed by one that says "end of file".
  return reads > 2 * maxReads ? `read ${reads} times` : undefined;
}

const port = parentPort;
if (port) await judgeAll(workerData as Task, (message) => port.postMessage(message));
