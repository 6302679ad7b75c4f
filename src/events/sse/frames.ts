import type { Piece } from '../../http/detached-socket.ts';
import { type OffsetOf, viewImage, viewTicket } from '../../tickets/view.ts';
import type { Announcement, Progress } from '../types.ts';
import { type StreamEvent, toPieceOf } from './event-stream.ts';

/** Makes the same text once for all listeners who know us by the same name; there is one such name, or a few. */
export function perBaseUrl(make: (baseUrl: string) => Promise<Piece>): (baseUrl: string) => Promise<Piece> {
  const made = new Map<string, Promise<Piece>>();
  return (baseUrl) => {
    const piece = made.get(baseUrl) ?? make(baseUrl);
    made.set(baseUrl, piece);
    return piece;
  };
}

export async function toChangePiece(
  { ticket, image }: Announcement,
  baseUrl: string,
  offsetOf: OffsetOf,
): Promise<Piece> {
  const ticketId = ticket.id;
  const id = ticket.version;
  const changed: StreamEvent = { event: 'ticket', data: { ticketId, ...viewTicket(ticket, baseUrl) }, id };
  if (!image) return toPieceOf(changed);
  const offset = image.status === 'uploading' ? await offsetOf(image) : 0;
  return toPieceOf({ event: 'image', data: { ticketId, ...viewImage(image, offset) }, id }, changed);
}

export function toProgressPiece({ ticketId, imageId, leg, bytes, total }: Progress): Piece {
  return toPieceOf({ event: 'progress', data: { ticketId, imageId, leg, bytes, total } });
}
