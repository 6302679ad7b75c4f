import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Linux gives ports from 32768 on to outgoing connections: one of those could be taken while its owner restarts. */
const LOWEST = 12_000;
const HIGHEST = 32_000;

/** A port of 127.0.0.1 on which nobody listens, and which stays free for whoever restarts on it. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    const server = createServer();
    const free = once(server.listen(port, '127.0.0.1'), 'listening').then(
      () => true,
      () => false,
    );
    if (await free) {
      server.close();
      await once(server, 'close');
      return port;
    }
    await delay(1);
  }
}
