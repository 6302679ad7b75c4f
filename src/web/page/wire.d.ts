import type { TicketDetail as Detail, Image, Progress, Ticket } from 'hopla/client';

export type { Detail, Image, Progress, Ticket };

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
