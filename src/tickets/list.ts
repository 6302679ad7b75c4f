import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { Ticket } from '../database/models.ts';
import { type TicketStatus, ticketStatuses } from '../database/states.ts';

const DAY_MS = 86_400_000;
const Timestamp = z.iso.datetime({ offset: true, error: 'must be an RFC 3339 time or a date YYYY-MM-DD' });
const Day = z.iso.date();

/** A moment, or a whole day in UTC, as the milliseconds [from, to] that it covers. */
const Moment = z.union(
  [
    Day.transform((day) => ({ from: Date.parse(day), to: Date.parse(day) + DAY_MS - 1 })),
    Timestamp.transform((time) => ({ from: Date.parse(time), to: Date.parse(time) })),
  ],
  {
    error: 'must be an RFC 3339 time or a date YYYY-MM-DD',
  },
);

type Position = { createdAt: Date; id: string };

const Cursor = z.string().transform((text, context): Position => {
  const [, ms, id] = /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(Buffer.from(text, 'base64url').toString('latin1')) ?? [];
  if (ms && id) return { createdAt: new Date(Number(ms)), id };
  context.addIssue({ code: 'custom', message: 'must be the nextCursor of an earlier page' });
  return z.NEVER;
});

const one = <S extends z.ZodType>(schema: S) =>
  z.preprocess((value) => (Array.isArray(value) ? value.at(-1) : value), schema);

/** Query of `GET /v1/tickets`. */
export const TicketQuery = z.strictObject({
  status: z
    .preprocess((value) => [value].flat().flatMap((item) => String(item).split(',')), z.array(z.enum(ticketStatuses)))
    .optional()
    .describe('repeatable, or comma-separated'),
  createdFrom: one(Moment).optional(),
  createdTo: one(Moment).optional(),
  limit: one(z.coerce.number<string>().int().min(1).max(100)).default(20),
  cursor: one(Cursor).optional(),
});
export type TicketQuery = z.output<typeof TicketQuery>;

export type TicketPage = { tickets: Ticket[]; nextCursor: string | null };

/**
 * One page of a user's tickets, newest first, by keyset: a page costs the same however far down it is, and tickets
 * opened meanwhile shift nothing.
 */
export async function listTickets(db: Database, userId: string, query: TicketQuery): Promise<TicketPage> {
  const statuses = query.status ? [...new Set(query.status)] : [null];
  // One index walk per status, each of at most a page, merged: a filter of several statuses never sorts a large set.
  const walks = statuses.map((status) => pageOf(db, userId, query, status));
  const found = (await Promise.all(walks))
    .flat()
    .sort(newestFirst)
    .slice(0, query.limit + 1);
  const tickets = found.slice(0, query.limit);
  const last = tickets.at(-1);
  return { tickets, nextCursor: last && found.length > tickets.length ? encodeCursor(last) : null };
}

function pageOf(db: Database, userId: string, query: TicketQuery, status: TicketStatus | null) {
  const page = Ticket.query(db)
    .where({ user_id: userId })
    .orderBy([
      { column: 'created_at', order: 'desc' },
      { column: 'id', order: 'desc' },
    ])
    .limit(query.limit + 1);
  if (status) page.where({ status });
  if (query.createdFrom) page.where('created_at', '>=', new Date(query.createdFrom.from));
  if (query.createdTo) page.where('created_at', '<=', new Date(query.createdTo.to));
  if (query.cursor) page.whereRaw('(created_at, id) < (?, ?)', [query.cursor.createdAt, query.cursor.id]);
  return page;
}

function newestFirst(a: Ticket, b: Ticket): number {
  return b.createdAt.getTime() - a.createdAt.getTime() || (a.id < b.id ? 1 : -1);
}

function encodeCursor({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt.getTime()}.${id}`).toString('base64url');
}
