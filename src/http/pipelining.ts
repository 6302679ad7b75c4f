import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Requests of one connection that may be under way at once. Browsers and proxies send one after the other. */
const MOST_AT_ONCE = 32;

/**
 * Says whether a request may be worked on. A client that sends many requests without waiting for an answer (pipelining, RFC
 * 9112 section 9.3.2) has its connection ended at the first one too many.
 *
 * Node hands over every request that is in a piece of 64 KB, and reads on while no answer is ready: one connection brought
 * thousands of requests into memory at once, and a hundred connections stopped the process.
 */
export function createPipeliningLimit(): (request: IncomingMessage, response: ServerResponse) => boolean {
  const underWay = new WeakMap<Socket, number>();
  return ({ socket }, response) => {
    // What came in the same piece is handed over although its connection has ended.
    if (socket.destroyed) return false;
    const before = underWay.get(socket) ?? 0;
    if (before >= MOST_AT_ONCE) {
      socket.destroy();
      return false;
    }
    underWay.set(socket, before + 1);
    response.on('close', () => underWay.set(socket, (underWay.get(socket) ?? 1) - 1));
    return true;
  };
}
