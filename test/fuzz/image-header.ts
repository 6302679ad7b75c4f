import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { photos as besides } from './image-cases.ts';
import type { Failure, Message, Task } from './image-worker.ts';

// npm run fuzz -- --count 100000 --seed 1 --photos FOLDER     (--from 4711 --count 1 repeats one case)

export type FuzzOptions = {
  count: number;
  seed: number;
  from?: number;
  /** A folder of files to mutate beside the generated ones. */
  photos?: string;
  cpuMs?: number;
  hangMs?: number;
};
export type FuzzReport = {
  cases: number;
  slowestMs: number;
  slowest: string;
  verdicts: Record<string, number>;
  /** What the files of the folder were taken for, as they are. */
  files: Record<string, string>;
  failures: Failure[];
};

/**
 * Throws `count` mutated files at the image inspection, in a worker thread. A case that takes more than `cpuMs` of CPU, throws,
 * allocates or reads much, or is judged differently whole, in pieces and from a file, is a failure; a case that has not ended
 * after `hangMs` is stopped, counted as a failure, and the rest goes on in a new worker.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { count, seed, from = 0, photos = besides, cpuMs = 50, hangMs = 5000 } = options;
  const report: FuzzReport = { cases: count, slowestMs: 0, slowest: 'none', verdicts: {}, files: {}, failures: [] };
  await using folder = await mkdtempDisposable(join(tmpdir(), 'image-fuzz-'));
  const current = new Int32Array(new SharedArrayBuffer(4));
  for (let next = from; next < from + count; ) {
    current[0] = next;
    const stopped = await run(
      { seed, from: next, to: from + count, cpuMs, photos, folder: folder.path, current },
      hangMs,
      report,
    );
    if (stopped === null) break;
    const index = Atomics.load(current, 0);
    report.failures.push({ index, name: `--seed ${seed} --from ${index} --count 1`, what: stopped });
    next = index + 1;
  }
  return report;
}

/** One worker until it is done (null), hangs or dies (why). */
async function run(task: Task, hangMs: number, report: FuzzReport): Promise<string | null> {
  const worker = new Worker(new URL('./image-worker.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: 128 },
  });
  let why: string | null = 'ended early';
  let seen = { index: -1, at: performance.now() };
  const watchdog = setInterval(() => {
    const index = Atomics.load(task.current, 0);
    if (index !== seen.index) seen = { index, at: performance.now() };
    else if (performance.now() - seen.at > hangMs) {
      why = `did not end in ${hangMs} ms`;
      void worker.terminate();
    }
  }, 100);
  worker.on('message', (message: Message) => {
    if ('failure' in message) report.failures.push(message.failure);
    else {
      why = null;
      merge(report, message.done);
    }
  });
  worker.on('error', (error) => {
    why = String(error);
  });
  await new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  clearInterval(watchdog);
  return why;
}

function merge(report: FuzzReport, done: Extract<Message, { done: object }>['done']): void {
  if (done.slowestMs > report.slowestMs) Object.assign(report, { slowestMs: done.slowestMs, slowest: done.slowest });
  Object.assign(report.files, done.files);
  for (const [verdict, times] of Object.entries(done.verdicts)) {
    report.verdicts[verdict] = (report.verdicts[verdict] ?? 0) + times;
  }
}

if (import.meta.main) {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({ options: { count: text, seed: text, from: text, photos: text } });
  const report = await fuzz({
    count: Number(values.count ?? 100_000),
    seed: Number(values.seed ?? 1),
    from: Number(values.from ?? 0),
    photos: values.photos ?? besides,
  });
  console.log(`${report.cases} cases, slowest ${report.slowestMs} ms of CPU (${report.slowest})`);
  console.log(report.verdicts);
  for (const [name, verdict] of Object.entries(report.files)) console.log(`${name}: ${verdict}`);
  for (const { index, name, what } of report.failures.slice(0, 50)) console.log(`${index} ${name}: ${what}`);
  console.log(`${report.failures.length} failures`);
  process.exitCode = report.failures.length > 0 ? 1 : 0;
}
