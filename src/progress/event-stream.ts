import type { ServerResponse } from 'node:http';

/** One server-sent event; `id` is the version of the ticket. */
export type StreamEvent = { event: string; data: unknown; id?: number };

/** An open stream to one listener. */
export type EventStream = {
  send(...events: StreamEvent[]): void;
  /** Sends what may be left out: nothing, when the listener does not keep up. */
  sendIfKeepingUp(event: StreamEvent): void;
  comment(): void;
  end(): void;
};

/** https://html.spec.whatwg.org/multipage/server-sent-events.html; the last header keeps nginx from gathering events. */
export const eventStreamHeaders = {
  'Content-Type': 'text/event-stream',
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
};

const RETRY_MS = 2_000;
/** A listener that leaves this many bytes unread gets no more progress. */
const SLOW_BYTES = 256 * 1024;
/** Past this many, beside one snapshot however large, it is cut off: it will come back to a new snapshot. */
const CUT_OFF_BYTES = 4 * SLOW_BYTES;
/** How long a listener may take to read the rest of a stream that has ended. */
const LEAVE_MS = 30_000;

/** Begins the stream on a response whose headers are sent. */
export function openEventStream(response: ServerResponse): EventStream {
  let largest = 0;
  const write = (text: string) => {
    if (response.writableEnded || response.destroyed) return;
    if (response.writableLength > CUT_OFF_BYTES + largest) {
      response.destroy();
      return;
    }
    largest = Math.max(largest, Buffer.byteLength(text));
    response.write(text);
  };
  // Silence is what a stream is mostly made of; the heartbeat finds out who is gone.
  response.socket?.setTimeout(0);
  write(`retry: ${RETRY_MS}\n\n`);
  return {
    send: (...events) => write(events.map(format).join('')),
    sendIfKeepingUp(event) {
      if (response.writableLength < SLOW_BYTES) write(format(event));
    },
    comment: () => write(':\n\n'),
    end() {
      response.socket?.setTimeout(LEAVE_MS);
      response.end();
    },
  };
}

function format({ event, data, id }: StreamEvent): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}
