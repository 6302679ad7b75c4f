import type { ServerResponse } from 'node:http';
import { type Piece, type TakenSocket, takeSocket, toPiece } from '../../http/detached-socket.ts';

/** One server-sent event; `id` is the version of the ticket, or that of its end. */
export type StreamEvent = { event: string; data: unknown; id?: number | string };

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

/** Events as they are sent, written down once for all listeners. */
export function toPieceOf(...events: StreamEvent[]): Piece {
  return toPiece(events.map(format).join(''));
}

/** The same for one event whose data is JSON already. */
export function toPieceOfJson(event: string, json: Buffer, id: number): Piece {
  return toPiece(`id: ${id}\nevent: ${event}\ndata: ${json}\n\n`);
}

function format({ event, data, id }: StreamEvent): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
}

/**
 * Neither ends with an empty line, so that both belong to the block of the event that comes next. A block without data is
 * no event in the standard, but @microsoft/fetch-event-source hands it to its user, who then parses an empty text.
 */
const BEGINNING = toPiece(`retry: ${RETRY_MS}\n`);
const HEARTBEAT = toPiece(':\n');

/** An open stream to one listener. There are thousands: it keeps the connection and a number. */
export class EventStream {
  readonly #socket: TakenSocket;
  #largest = 0;

  private constructor(socket: TakenSocket) {
    this.#socket = socket;
  }

  /** Begins the answer; null when the listener left. `onClose` runs when it leaves later. */
  static open(response: ServerResponse, onClose: (stream: EventStream) => void): EventStream | null {
    response.writeHead(200, eventStreamHeaders);
    const socket = takeSocket(response);
    if (!socket) return null;
    const stream = new EventStream(socket);
    socket.once('close', () => onClose(stream));
    // With the snapshot, which is sent right after, in one packet.
    socket.cork();
    stream.send(BEGINNING);
    process.nextTick(() => socket.uncork());
    return stream;
  }

  send(piece: Piece): void {
    const socket = this.#socket;
    if (socket.writableEnded || socket.destroyed) return;
    if (socket.writableLength > CUT_OFF_BYTES + this.#largest) {
      socket.destroy();
      return;
    }
    this.#largest = Math.max(this.#largest, piece.plain.length);
    socket.writePiece(piece);
  }

  /** Sends what may be left out: nothing, when the listener does not keep up. */
  sendIfKeepingUp(piece: Piece): void {
    if (this.#socket.writableLength < SLOW_BYTES) this.send(piece);
  }

  /** Silence is what a stream is mostly made of; this finds out who is gone. */
  beat(): void {
    this.send(HEARTBEAT);
  }

  end(): void {
    this.#socket.endAnswer(LEAVE_MS);
  }

  cut(): void {
    this.#socket.destroy();
  }
}
