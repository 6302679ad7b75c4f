/**
 * Many listeners of server-sent events in one process, on bare sockets. Told what to do over IPC: see `bench/fleet.ts`.
 */
import { connect } from 'node:net';
import type { FleetOrder, FleetWord } from '../fleet.ts';

const CONNECTING_AT_ONCE = 32;
/** The last line of each change that hopla announces, and all that the bare server says. */
const CHANGE = /^id: (\d+)\nevent: ticket$/gm;

/** By version: how many listeners heard it, and when the last of them did. */
const heard = new Map<number, { listeners: number; lastNs: bigint }>();
let opened = 0;
let ended = 0;

process.on('message', (order: FleetOrder) => {
  if (order.kind === 'open') void openAll(order);
  else say({ kind: 'heard', ended, ...heardOf(order.version) });
});

function say(word: FleetWord): void {
  process.send?.(word);
}

function heardOf(version: number): { listeners: number; lastNs: string } {
  const { listeners, lastNs } = heard.get(version) ?? { listeners: 0, lastNs: 0n };
  return { listeners, lastNs: String(lastNs) };
}

async function openAll({ host, port, listeners }: Extract<FleetOrder, { kind: 'open' }>): Promise<void> {
  let next = 0;
  const work = async () => {
    for (let index = next++; index < listeners.length; index = next++) {
      const { path, token } = listeners[index] ?? { path: '/', token: '' };
      await openOne(
        host,
        port,
        `GET ${path} HTTP/1.1\r\nHost: ${host}:${port}\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      );
    }
  };
  await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, work));
  say({ kind: 'opened', listeners: opened });
}

/** Resolves once the first event is here. */
function openOne(host: string, port: number, request: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let waiting = true;
    const socket = connect({ host, port, noDelay: true }, () => socket.write(request));
    socket.on('data', (data) => {
      const now = process.hrtime.bigint();
      const text = data.toString('latin1');
      if (waiting && text.includes('event: ')) {
        waiting = false;
        opened += 1;
        resolve();
      }
      for (const [, version] of text.matchAll(CHANGE)) {
        const before = heard.get(Number(version))?.listeners ?? 0;
        heard.set(Number(version), { listeners: before + 1, lastNs: now });
      }
    });
    socket.on('error', reject);
    socket.on('close', () => {
      ended += 1;
      reject(new Error('a stream ended before its first event'));
    });
  });
}
