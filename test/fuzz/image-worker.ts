import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { createImageInspector, type Inspection } from '../../src/image-format/inspect.ts';
import { type Case, corpus, inMemory, makeCase, systematic } from './image-cases.ts';

/** What the supervisor in `image-header.ts` hands over; `current` tells it which case is running. */
export type Task = {
  seed: number;
  from: number;
  to: number;
  cpuMs: number;
  /** Where the corpus has files beside the generated ones. */
  photos: string;
  folder: string;
  current: Int32Array;
};
export type Failure = { index: number; name: string; what: string };
export type Message =
  | { failure: Failure }
  | { done: { slowestMs: number; slowest: string; verdicts: Record<string, number>; files: Record<string, string> } };

// As many as steps, and the stray bytes of a JPEG by windows of 4 KiB.
const maxReads = 2048 + 64;
const maxReadBytes = 64 * 1024;
// More pieces than that only make the run longer.
const maxLooks = 1000;

/** Judges the cases of the task. Runs in a worker thread, because only a thread can be stopped in an endless loop. */
async function judgeAll(
  { seed, from, to, cpuMs, photos, folder, current }: Task,
  tell: (message: Message) => void,
): Promise<void> {
  const files = corpus(photos);
  const fixed = systematic(files);
  const handle = await open(join(folder, 'staged'), 'w+');
  const done = {
    slowestMs: 0,
    slowest: 'none',
    verdicts: {} as Record<string, number>,
    files: {} as Record<string, string>,
  };
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
          const key = verdict.state === 'image' ? verdict.facts.format : verdict.state;
          done.verdicts[key] = (done.verdicts[key] ?? 0) + 1;
          const file = files[index];
          if (file?.whole) done.files[file.name] = describe(verdict);
        }
      }
      if (ms > cpuMs) fail(`took ${ms} ms of CPU`);
      if (ms > done.slowestMs) Object.assign(done, { slowestMs: ms, slowest: `${index} ${one.name}` });
    }
  } finally {
    await handle.close();
  }
  tell({ done });
}

function describe(verdict: Inspection): string {
  if (verdict.state === 'image') {
    const { contentType, width, height, orientation, displayWidth, displayHeight } = verdict.facts;
    return `${contentType}, ${width} × ${height}, orientation ${orientation}, shown ${displayWidth} × ${displayHeight}`;
  }
  return verdict.state === 'not-image' ? `no image: ${verdict.reason}` : verdict.state;
}

/** The verdict on the whole file, or what is wrong with it as a string. */
async function judge({ bytes }: Case, handle: FileHandle): Promise<Inspection | string> {
  await handle.truncate(0);
  if (bytes.length > 0) await handle.write(bytes, 0, bytes.length, 0);
  let reads = 0;
  let largest = 0;
  const counted = {
    read: (buffer: Uint8Array, offset: number, length: number, position: number) => {
      reads += 1;
      largest = Math.max(largest, buffer.buffer.byteLength);
      return handle.read(buffer, offset, length, position);
    },
  };
  const whole = await createImageInspector().file(counted as Pick<FileHandle, 'read'>, bytes.length);
  if (whole.state === 'need-more') return 'needs more than the whole file';
  if (largest > maxReadBytes) return `read ${largest} bytes at once`;
  if (reads > maxReads) return `read ${reads} times`;
  return (await growing(bytes, whole)) ?? whole;
}

/** Looks as an upload does, each time with little more than the last answer needs, while the length is unknown until the end. */
async function growing(bytes: Uint8Array, whole: Inspection): Promise<string | undefined> {
  const inspector = createImageInspector();
  for (let length = 0; ; ) {
    const verdict = await inspector.file(inMemory(bytes), length, length < bytes.length ? null : length);
    if (verdict.state !== 'need-more')
      return isDeepStrictEqual(verdict, whole) ? undefined : 'an early verdict differs';
    if (verdict.needs <= length) return 'needs what is there';
    const { state } = whole;
    if (state === 'image' && verdict.formats.length > 0 && !verdict.formats.includes(whole.facts.format))
      return 'an early kind differs';
    if (state === 'image' && verdict.size && verdict.size.width !== whole.facts.width) return 'an early size differs';
    length = Math.min(bytes.length, Math.max(verdict.needs, length + Math.floor(bytes.length / maxLooks)));
  }
}

const port = parentPort;
if (port) await judgeAll(workerData as Task, (message) => port.postMessage(message));
