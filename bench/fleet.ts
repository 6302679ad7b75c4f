import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { stopProgram } from './program.ts';

export type Place = { path: string; token: string };
export type FleetOrder =
  | { kind: 'open'; host: string; port: number; listeners: Place[] }
  | { kind: 'tell'; version: number };
export type FleetWord =
  | { kind: 'opened'; listeners: number }
  | { kind: 'heard'; listeners: number; lastNs: string; ended: number };

/** Listeners in another process. Times are of the monotonic clock that all processes of a machine share. */
export type Fleet = {
  open(url: string, listeners: Place[]): Promise<void>;
  /** Resolves when so many listeners heard this version, to when the last of them did, in nanoseconds. */
  heard(version: number, listeners: number): Promise<bigint>;
  close(): Promise<void>;
};

const HEARD_MS = 10_000;

export async function startFleet(): Promise<Fleet> {
  const child = fork(fileURLToPath(new URL('clients/listeners.ts', import.meta.url)), { stdio: 'inherit' });
  await once(child, 'spawn');
  return {
    async open(url, listeners) {
      const { hostname, port } = new URL(url);
      await ask(child, { kind: 'open', host: hostname, port: Number(port), listeners });
    },
    async heard(version, listeners) {
      for (const deadline = performance.now() + HEARD_MS; ; ) {
        const word = await ask(child, { kind: 'tell', version });
        if (word.kind === 'heard' && word.listeners >= listeners) return BigInt(word.lastNs);
        if (performance.now() > deadline) throw new Error(`${listeners} should have heard: ${JSON.stringify(word)}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
    close: () => stopProgram(child, 'SIGKILL'),
  };
}

async function ask(child: ChildProcess, order: FleetOrder): Promise<FleetWord> {
  const answered = new AbortController();
  const { signal } = answered;
  const left = once(child, 'exit', { signal }).then(() => {
    throw new Error('the listeners died');
  });
  left.catch(() => {});
  child.send(order);
  try {
    const [word] = (await Promise.race([once(child, 'message', { signal }), left])) as [FleetWord];
    return word;
  } finally {
    answered.abort();
  }
}
