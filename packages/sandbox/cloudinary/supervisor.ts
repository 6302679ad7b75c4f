import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { ProcessOptions, Report } from './process.ts';

/** A local Cloudinary that runs in a process of its own. `close` takes a few seconds at most and may be called twice. */
export type CloudinaryProcess = { url: string; cloudinaryUrl: string; moved: boolean; close(): Promise<void> };

type Running = { child: ChildProcess; ended: Promise<unknown[]>; address: Exclude<Report, { failure: string }> };

/** The server itself needs up to 5 s to close. */
const CLOSE_MS = 7_000;
const RETRY_MS = 1_000;

/** Starts the server of `directory`, and again whenever it ends by itself, on the same port. Rejects if it can't start. */
export async function superviseCloudinary(options: ProcessOptions, log: Logger): Promise<CloudinaryProcess> {
  const closing = new AbortController();
  let running = await launch(options);
  const { address } = running;
  const again = { ...options, port: Number(new URL(address.url).port) };

  const relaunch = async (): Promise<Running> => {
    for (;;) {
      try {
        return await launch(again);
      } catch (error) {
        log.error({ err: error }, 'the local Cloudinary does not start');
        await delay(RETRY_MS, undefined, { signal: closing.signal });
      }
    }
  };
  const watch = async () => {
    for (;;) {
      const [code, signal] = await running.ended;
      if (closing.signal.aborted) return;
      log.error({ code, signal }, 'the local Cloudinary ended by itself: it is started again');
      running = await relaunch();
      if (closing.signal.aborted) await end(running);
    }
  };
  // It rejects only where the wait for another try is aborted.
  const watching = watch().catch(() => {});

  return {
    ...address,
    async close() {
      closing.abort();
      await end(running);
      await watching;
    },
  };
}

async function launch(options: ProcessOptions): Promise<Running> {
  const child = fork(new URL(`./process${extname(import.meta.url)}`, import.meta.url), [JSON.stringify(options)], {
    // A session of its own: Ctrl-C goes to every process of the terminal's group, and what hopla still sends has to arrive.
    detached: true,
    execArgv: [],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const ended = once(child, 'exit');
  const [report] = (await Promise.race([once(child, 'message'), ended])) as [Report | number | null];
  if (typeof report === 'object' && report !== null && 'url' in report) return { child, ended, address: report };
  const failure = typeof report === 'object' && report !== null ? report.failure : `it ended with exit code ${report}`;
  throw new Error(`The local Cloudinary of ${options.directory} does not start: ${failure}`);
}

async function end({ child, ended }: Running): Promise<void> {
  if (child.connected) child.disconnect();
  const late = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
  await ended;
  clearTimeout(late);
}
