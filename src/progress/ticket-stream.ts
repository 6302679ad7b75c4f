import type { Image, Ticket } from '../database/models.ts';
import { isTerminal } from '../database/states.ts';
import { type OffsetOf, viewDetail, viewImage, viewTicket } from '../tickets/view.ts';
import type { EventStream, StreamEvent } from './event-stream.ts';
import type { Announcement, Listener, Progress } from './hub.ts';

/** How tickets are shown to one listener. `baseUrl` has no slash at its end. */
export type Showing = { baseUrl: string; offsetOf: OffsetOf };

export type TicketStreamDeps = Showing & {
  stream: EventStream;
  /** The ticket as it is now. */
  read: () => Promise<{ ticket: Ticket; images: Image[] }>;
  /** The version that the listener says it has. */
  known: number | null;
  onError: (error: unknown) => void;
};

/**
 * Shows one ticket to one listener: a snapshot, and then every change that is newer.
 *
 * Subscribe the answer before anything is awaited: what is announced while the snapshot is read waits for its turn
 * behind it, so nothing falls between the two.
 */
export function showTicket({ stream, read, known, onError, baseUrl, offsetOf }: TicketStreamDeps): Listener {
  const inTurn = takeTurns(stream, onError);
  let version = known;

  const endWhenOver = (ticket: Ticket) => {
    if (!isTerminal(ticket)) return;
    stream.send({ event: 'end', data: { ticketId: ticket.id, status: ticket.status }, id: ticket.version });
    stream.end();
  };
  const synchronise = async () => {
    const { ticket, images } = await read();
    if (ticket.version !== version) {
      const detail = await viewDetail(ticket, images, baseUrl, offsetOf);
      stream.send({ event: 'snapshot', data: detail, id: ticket.version });
    }
    version = ticket.version;
    endWhenOver(ticket);
  };

  inTurn(synchronise);
  return {
    onChange: (change) =>
      inTurn(async () => {
        if (version !== null && change.ticket.version <= version) return;
        version = change.ticket.version;
        stream.send(...(await toEvents(change, { baseUrl, offsetOf })));
        endWhenOver(change.ticket);
      }),
    onProgress: (progress) => inTurn(async () => stream.sendIfKeepingUp(toProgressEvent(progress))),
    onResync: () => inTurn(synchronise),
  };
}

/** Shows every change that is announced, of whichever ticket. */
export function showChanges(stream: EventStream, showing: Showing, onError: (error: unknown) => void): Listener {
  const inTurn = takeTurns(stream, onError);
  return {
    onChange: (change) => inTurn(async () => stream.send(...(await toEvents(change, showing)))),
    onProgress: (progress) => inTurn(async () => stream.sendIfKeepingUp(toProgressEvent(progress))),
    // Without a snapshot there is nothing to catch up with: the listener reads its list again when it reconnects.
    onResync: () => stream.end(),
  };
}

/** Runs tasks one after the other. The first that fails ends the stream: its listener comes back to the truth. */
function takeTurns(stream: EventStream, onError: (error: unknown) => void): (task: () => Promise<void>) => void {
  let last = Promise.resolve();
  let failed = false;
  return (task) => {
    last = last
      .then(() => (failed ? undefined : task()))
      .catch((error: unknown) => {
        failed = true;
        onError(error);
        stream.end();
      });
  };
}

async function toEvents({ ticket, image }: Announcement, { baseUrl, offsetOf }: Showing): Promise<StreamEvent[]> {
  const ticketId = ticket.id;
  const id = ticket.version;
  const changed: StreamEvent = { event: 'ticket', data: { ticketId, ...viewTicket(ticket, baseUrl) }, id };
  if (!image) return [changed];
  const offset = image.status === 'uploading' ? await offsetOf(image) : 0;
  return [{ event: 'image', data: { ticketId, ...viewImage(image, offset) }, id }, changed];
}

function toProgressEvent({ ticketId, imageId, leg, bytes, total }: Progress): StreamEvent {
  return { event: 'progress', data: { ticketId, imageId, leg, bytes, total } };
}
