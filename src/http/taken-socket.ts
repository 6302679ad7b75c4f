import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** A connection whose answer is written by hand: in chunks where the client knows them, else until the connection ends. */
export type TakenSocket = Socket & { [chunked]: boolean };

const chunked = Symbol('chunked');

/**
 * Sends the headers and takes the connection from Node's web server, for an answer that lasts: to the server it is then a
 * connection between two requests, and request, response and all that hangs on them can go. Of an open event stream that
 * is most of its memory.
 *
 * Null when the client is gone. (Who asked for the connection to end with the answer, as HTTP/1.0 does, keeps the response.)
 */
export function takeSocket(response: ServerResponse): TakenSocket | null {
  const { socket } = response;
  if (!socket || socket.destroyed) return null;
  response.flushHeaders();
  const taken = Object.assign(socket, { [chunked]: response.chunkedEncoding });
  // What the server does when an answer is complete, it does on this event; the connection of one that is the last it ends.
  if (response.chunkedEncoding && response.shouldKeepAlive) response.emit('finish');
  taken.setTimeout(0);
  return taken;
}

/** True while nothing but the taken answer may be written to this connection. */
export function isTaken(socket: object): boolean {
  return chunked in socket;
}

/** Ends the answer and the connection with it; the client has so long to read the rest. */
export function endTaken(socket: TakenSocket, leaveMs: number): void {
  if (socket.writableEnded) return;
  socket.setTimeout(leaveMs);
  socket.end(socket[chunked] ? '0\r\n\r\n' : '');
}

/** One piece of an answer, made once for however many read it. */
export type Piece = { readonly plain: Buffer; readonly chunk: Buffer };

export function toPiece(text: string): Piece {
  const size = Buffer.byteLength(text);
  const head = `${size.toString(16)}\r\n`;
  const chunk = Buffer.from(`${head}${text}\r\n`);
  return { chunk, plain: chunk.subarray(head.length, head.length + size) };
}

export function writePiece(socket: TakenSocket, { plain, chunk }: Piece): void {
  socket.write(socket[chunked] ? chunk : plain);
}
