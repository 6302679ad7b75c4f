/**
 * The life of an image
 *
 *   uploading ──► received ──► transferring ──► stored
 *       │             ▲    └────────┬───────────┘
 *       │             └── retry ──  failed
 *       └──► rejected · cancelled · expired
 *
 * uploading     a place is claimed, bytes arrive in the staging area; their number is the size of the staged file
 *               (a small image that comes whole with its creation begins as `received`)
 * received      every byte is fsynced, and this row, the ticket's count and the transfer job were committed together
 * transferring  a worker sends it to the storage (again, after a try that ended without a receipt); from the queue, where
 *               others wait, an image that is stored within a moment goes there from `received` at once
 * stored        the storage's receipt is committed; the staged file goes next
 * failed        the storage refuses it or kept failing, or the staged file is lost; the file and the place are kept until an
 *               admin puts it back to `received`, or deletes it
 * rejected      not an acceptable image, found while uploading: never after `received`, which the table makes sure of
 * cancelled     the client ended the upload, or an admin deletes the ticket of an image that is not stored yet
 * expired       the ticket's time ran out before the last byte: likewise
 *
 * The first five hold a place in the ticket, the last three gave it back. `stored` and those three are final.
 *
 * The life of a ticket is no state of its own: its status is computed by Postgres from `expected`, the counters
 * `claimed`, `received`, `stored`, and `expired` (see the migration).
 */
export const imageStatuses = [
  'uploading',
  'received',
  'transferring',
  'stored',
  'failed',
  'rejected',
  'cancelled',
  'expired',
] as const;
export type ImageStatus = (typeof imageStatuses)[number];

export const ticketStatuses = ['pending', 'uploading', 'processing', 'completed', 'expired'] as const;
export type TicketStatus = (typeof ticketStatuses)[number];

/** Images that hold a place in their ticket. */
export const liveStatuses = [
  'uploading',
  'received',
  'transferring',
  'stored',
  'failed',
] as const satisfies ImageStatus[];

/** Images whose bytes are all here or in the storage; what the ticket counts as received. */
export const receivedStatuses = ['received', 'transferring', 'stored', 'failed'] as const satisfies ImageStatus[];

/** Images whose bytes have to be in the staging area; the file of any other may go. */
export const stagedStatuses = ['uploading', 'received', 'transferring', 'failed'] as const satisfies ImageStatus[];

/** Images that a worker still has to bring to the storage. */
export const owedStatuses = ['received', 'transferring'] as const satisfies ImageStatus[];

export function isLive(status: ImageStatus): boolean {
  return (liveStatuses as readonly ImageStatus[]).includes(status);
}

export function isReceived(status: ImageStatus): boolean {
  return (receivedStatuses as readonly ImageStatus[]).includes(status);
}

export function isStaged(status: ImageStatus): boolean {
  return (stagedStatuses as readonly ImageStatus[]).includes(status);
}

/** True when nothing more will come: completed; or expired with nothing under way that could still be stored. */
export function isTerminal(ticket: {
  status: TicketStatus;
  claimed: number;
  received: number;
  stored: number;
  failed: number;
}): boolean {
  return (
    ticket.status === 'completed' ||
    // Uploads that end with their ticket give their places back one by one; the last has to be seen before the end.
    (ticket.status === 'expired' &&
      ticket.claimed === ticket.received &&
      ticket.received === ticket.stored + ticket.failed)
  );
}
