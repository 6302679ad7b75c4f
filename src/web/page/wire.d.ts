import type { viewImage, viewTicket } from '../../tickets/view.ts';

/** What the API sends, as the server's own code makes it. */
export type Ticket = ReturnType<typeof viewTicket>;
export type Image = ReturnType<typeof viewImage>;
export type Detail = Ticket & { images: Image[] };

export type Progress = {
  ticketId: string;
  imageId: string;
  leg: 'upload' | 'transfer';
  bytes: number;
  total: number | null;
};

/** One server-sent event; `version` is the ticket's, and 0 for progress. */
export type LiveEvent =
  | { type: 'snapshot'; data: Detail; version: number }
  | { type: 'ticket'; data: Ticket & { ticketId: string }; version: number }
  | { type: 'image'; data: Image & { ticketId: string }; version: number }
  | { type: 'progress'; data: Progress; version: number }
  | { type: 'end'; data: { ticketId: string }; version: number };

/** Who uses the page: a user that signed in, or somebody with a link to one ticket. */
export type Visitor =
  | { kind: 'user'; token: string; username: string; remembered: boolean }
  | { kind: 'guest'; token: string; ticketId: string };
