import type { ServerResponse } from 'node:http';
import { Socket, type SocketConstructorOpts } from 'node:net';

/** What a socket has of the operating system. Node's servers make their sockets with it, too. */
type Handle = { readonly handle: unique symbol };
type Holder = { _handle: Handle | null };

/**
 * A connection taken from Node's web server, for an answer that lasts: in chunks where the client knows them, else until the
 * connection ends. What the client says meanwhile ends it, as there is no room for another answer.
 */
export class TakenSocket extends Socket {
  readonly #chunked: boolean;

  constructor(handle: Handle, chunked: boolean) {
    super({ handle } as unknown as SocketConstructorOpts);
    this.#chunked = chunked;
    // Whoever leaves without a goodbye; `close` follows.
    this.on('error', ignore);
    this.on('data', cut);
  }

  writePiece({ plain, chunk }: Piece): void {
    this.write(this.#chunked ? chunk : plain);
  }

  /** Ends the answer and the connection with it; the client has so long to read the rest. */
  endAnswer(leaveMs: number): void {
    if (this.writableEnded) return;
    this.setTimeout(leaveMs, cut);
    this.end(this.#chunked ? '0\r\n\r\n' : '');
  }
}

function ignore(): void {}

function cut(this: Socket): void {
  this.destroy();
}

/**
 * Sends the headers and takes the connection, by its handle: to the web server the answer is then complete and the
 * connection gone, so that its socket, its parser (8 KiB), request, response and all that hangs on them can go. A connection
 * that stayed with the server would keep three times as much.
 *
 * Null when the client is gone, or so far behind with earlier answers that there is no room for the headers of this one.
 */
export function takeSocket(response: ServerResponse): TakenSocket | null {
  const socket = response.socket as (Socket & Holder) | null;
  if (!socket || socket.destroyed) return null;
  response.flushHeaders();
  const handle = socket.writableLength === 0 ? socket._handle : null;
  if (handle) socket._handle = null;
  socket.destroy();
  // What the server does when an answer is complete, it does on this event.
  response.emit('finish');
  return handle && new TakenSocket(handle, response.chunkedEncoding);
}

/** One piece of an answer, made once for however many read it. */
export type Piece = { readonly plain: Buffer; readonly chunk: Buffer };

export function toPiece(text: string): Piece {
  const size = Buffer.byteLength(text);
  const head = `${size.toString(16)}\r\n`;
  const chunk = Buffer.from(`${head}${text}\r\n`);
  return { chunk, plain: chunk.subarray(head.length, head.length + size) };
}
