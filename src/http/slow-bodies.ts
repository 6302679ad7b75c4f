import type { IncomingMessage } from 'node:http';

/** Ends request bodies that come too slowly. */
export type SlowBodies = { watch(request: IncomingMessage): void; close(): void };

export type SlowBodiesOptions = {
  /** Over each window less than this ends the connection; 0 lets everybody take any time. */
  minBytesPerSecond: number;
  windowMs: number;
};

type Watched = { since: number; bytesRead: number };

/** Looks so often in each window: a slow body lives for a window and a quarter at most. */
const LOOKS = 4;

/**
 * A client that sends a byte now and then is never idle, and would hold its connection, its upload and its place for as
 * long as it likes. It is cut off without an answer, as one that is idle: to tus clients that is a lost connection, after
 * which they go on with what is here, while stock ones would take a 408 for final.
 */
export function watchSlowBodies({ minBytesPerSecond, windowMs }: SlowBodiesOptions): SlowBodies {
  const watched = new Map<IncomingMessage, Watched>();
  if (minBytesPerSecond === 0) return { watch() {}, close() {} };

  const look = () => {
    const now = performance.now();
    for (const [request, { since, bytesRead }] of watched) {
      if (request.complete || request.destroyed) watched.delete(request);
      else if (now - since >= windowMs) {
        const bytes = request.socket.bytesRead - bytesRead;
        // What has come and was not taken waits for us, not for the client.
        const waitsForUs = request.readableLength > 0;
        if (!waitsForUs && bytes < (minBytesPerSecond * (now - since)) / 1000) request.destroy();
        watched.set(request, { since: now, bytesRead: request.socket.bytesRead });
      }
    }
  };
  const looking = setInterval(look, windowMs / LOOKS);
  const forget = function (this: IncomingMessage) {
    watched.delete(this);
  };
  return {
    watch(request) {
      if (!hasBody(request)) return;
      watched.set(request, { since: performance.now(), bytesRead: request.socket.bytesRead });
      request.on('close', forget);
    },
    close: () => clearInterval(looking),
  };
}

/** RFC 9112 section 6.3: a request without either has none. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}
