import type { QueryBuilder } from 'objection';
import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { Ticket } from '../database/models.ts';
import { isId } from '../model/ids.ts';
import { ticketStatuses } from '../model/states.ts';

const DAY_MS = 86_400_000;
const NO_MOMENT = 'must be an RFC 3339 time or a date YYYY-MM-DD';
const Timestamp = z.iso.datetime({ offset: true });
const Day = z.iso.date();

/** A moment, or a whole day in UTC, as the milliseconds [from, to] that it covers. */
const Moment = z.union(
  [
    Day.transform((day) => ({ from: Date.parse(day), to: Date.parse(day) + DAY_MS - 1 })),
    Timestamp.transform((time) => {
      const ms = Date.parse(time);
      // Tickets are dated to the millisecond: a moment after one is not that one.
      return { from: /\.\d{3}\d*[1-9]/.test(time) ? ms + 1 : ms, to: ms };
    }),
  ],
  { error: NO_MOMENT },
);

type Position = { createdAt: Date; id: string };

const Cursor = z.string().transform((text, context): Position => {
  const [, ms, id] = /^(\d{1,15})\.(.{36})$/.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? [];
  if (ms && id && isId(id)) return { createdAt: new Date(Number(ms)), id };
  context.addIssue({ code: 'custom', message: 'must be the nextCursor of an earlier page' });
  return z.NEVER;
});

/** Decimal digits and nothing else: no `1e1`, no `0x10`, no blanks. */
export const Limit = z
  .string()
  .regex(/^\d{1,9}$/, 'must be a whole number')
  .transform(Number)
  .pipe(z.number().min(1).max(100));

/** Query of `GET /v1/tickets`. */
export const TicketQuery = z.strictObject({
  status: z
    .preprocess((value) => [value].flat().flatMap((item) => String(item).split(',')), z.array(z.enum(ticketStatuses)))
    .optional()
    .describe('repeatable, or comma-separated'),
  createdFrom: Moment.optional(),
  createdTo: Moment.optional(),
  limit: Limit.default(20),
  cursor: Cursor.optional(),
});
export type TicketQuery = z.output<typeof TicketQuery>;

export type TicketPage = { tickets: Ticket[]; nextCursor: string | null };

/**
 * One page of a user's tickets, newest first, by keyset: a page costs the same however far down it is, and tickets
 * opened meanwhile shift nothing.
 */
export async function listTickets(db: Database, userId: string, query: TicketQuery): Promise<TicketPage> {
  const found = await pageOf(db, userId, query);
  const tickets = found.slice(0, query.limit);
  const last = tickets.at(-1);
  return { tickets, nextCursor: last && found.length > tickets.length ? encodeCursor(last) : null };
}

/** A page and one more. */
function pageOf(db: Database, userId: string, query: TicketQuery): PromiseLike<Ticket[]> {
  const wanted = query.limit + 1;
  if (!query.status) return newestOf(db, userId, query).limit(wanted);
  // One index walk per status, each of at most a page, merged: a filter of several statuses never sorts a large set.
  // One statement, so that a ticket that changes its status meanwhile is seen in one of them.
  const walks = [...new Set(query.status)].map((status) =>
    newestOf(db, userId, query).where({ status }).limit(wanted).toKnexQuery(),
  );
  return newestFirst(Ticket.query(db).from(db.unionAll(walks, true).as('tickets'))).limit(wanted);
}

function newestOf(db: Database, userId: string, query: TicketQuery) {
  const tickets = newestFirst(Ticket.query(db).where({ user_id: userId }));
  if (query.createdFrom) tickets.where('created_at', '>=', new Date(query.createdFrom.from));
  if (query.createdTo) tickets.where('created_at', '<=', new Date(query.createdTo.to));
  if (query.cursor) tickets.whereRaw('(created_at, id) < (?, ?)', [query.cursor.createdAt, query.cursor.id]);
  return tickets;
}

function newestFirst(tickets: QueryBuilder<Ticket>) {
  return tickets.orderBy([
    { column: 'created_at', order: 'desc' },
    { column: 'id', order: 'desc' },
  ]);
}

/** What `cursor` takes to go on behind this ticket. */
export function encodeCursor({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt.getTime()}.${id}`).toString('base64url');
}
