import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Journal } from './journal.ts';
import { freePort } from './ports.ts';

export type ServiceOptions = {
  index: number;
  /** The file that node runs; it listens on PORT. */
  program: string;
  env: Record<string, string>;
  /** What the process prints once it takes requests. */
  readyText: string;
  logFile: string;
  journal: Journal;
};

/** A process that is started again whenever it ends, as systemd would. */
export type Service = {
  readonly index: number;
  readonly port: number;
  /** Where its inspector opens when asked to by SIGUSR1. */
  readonly inspectPort: number;
  /** Undefined while there is none. */
  readonly pid: number | undefined;
  signal(signal: NodeJS.Signals): void;
  /** Resolves once a process takes requests. */
  untilReady(withinMs: number): Promise<boolean>;
  /** Resolves once the present process has ended. */
  untilEnded(withinMs: number): Promise<boolean>;
  /** While held, an ended process stays ended. */
  hold(held: boolean): void;
  /** Ends it for good: SIGTERM, and SIGKILL after a while. */
  close(): Promise<void>;
};

/** RestartSec= of systemd is 100 ms. */
const RESTART_MS = 100;
const STOP_MS = 15_000;
const leash = new URL('leash.ts', import.meta.url).href;

export async function startService(options: ServiceOptions): Promise<Service> {
  const port = await freePort();
  const inspectPort = await freePort();
  const { index, program, env, readyText, logFile, journal } = options;
  let child: ChildProcess | undefined;
  let ready = false;
  let held = false;
  let closing = false;

  const begin = () => {
    ready = false;
    const started = spawn(process.execPath, ['--import', leash, `--inspect-port=${inspectPort}`, program], {
      env: { PATH: process.env.PATH ?? '', ...env, HOST: '127.0.0.1', PORT: `${port}` },
      stdio: ['pipe', 'pipe', 'pipe'],
      // Ctrl-C is for us; the processes end when we say so.
      detached: true,
    });
    const { pid = 0 } = started;
    child = started;
    journal.write({ kind: 'process', index, event: 'spawned', pid });
    const hear = (chunk: Buffer) => {
      appendFileSync(logFile, chunk);
      if (ready || child !== started || !chunk.includes(readyText)) return;
      ready = true;
      const [, name] = /"process":"(\w+)"/.exec(chunk.toString()) ?? [];
      journal.write({ kind: 'process', index, event: 'ready', pid, ...(name ? { name } : {}) });
    };
    started.stdout.on('data', hear);
    started.stderr.on('data', hear);
    started.once('exit', (code, signal) => {
      ready = false;
      child = undefined;
      journal.write({ kind: 'process', index, event: 'exited', pid, how: signal ?? `code ${code}` });
      void again();
    });
  };
  const again = async () => {
    await delay(RESTART_MS);
    while (held && !closing) await delay(10);
    if (!closing && !child) begin();
  };
  const until = async (condition: () => boolean, withinMs: number) => {
    for (const deadline = performance.now() + withinMs; !condition(); await delay(10))
      if (performance.now() > deadline) return false;
    return true;
  };

  begin();
  return {
    index,
    port,
    inspectPort,
    get pid() {
      return child?.pid;
    },
    signal: (signal) => void child?.kill(signal),
    untilReady: (withinMs) => until(() => ready, withinMs),
    untilEnded(withinMs) {
      const present = child;
      return until(() => child !== present || !present, withinMs);
    },
    hold(value) {
      held = value;
    },
    async close() {
      closing = true;
      const last = child;
      if (!last) return;
      const ended = once(last, 'exit');
      last.kill('SIGCONT');
      last.kill('SIGTERM');
      const late = setTimeout(() => last.kill('SIGKILL'), STOP_MS);
      await ended;
      clearTimeout(late);
    },
  };
}
