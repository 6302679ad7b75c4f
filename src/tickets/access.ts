import { LRUCache } from 'lru-cache';
import type { Database } from '../database/connection.ts';
import { Ticket } from '../database/models.ts';
import type { Caller } from '../identity/tokens.ts';
import { HoplaError } from '../model/errors.ts';
import { isId } from '../model/ids.ts';

/** False when no ticket of that name can be this caller's, whatever the database says. */
export function mayName(caller: Caller, ticketId: string): boolean {
  return isId(ticketId) && (caller.kind === 'user' || caller.ticketId === ticketId);
}

/** The ticket, if it is this caller's. Otherwise, and when there is none, the same 404 `ticket-not-found`. */
export function owned(caller: Caller, ticket: Ticket | null | undefined): Ticket {
  if (ticket?.userId !== caller.user.id) throw new HoplaError('ticket-not-found');
  return ticket;
}

/** The ticket, if this caller may use it; throws like `owned`. */
export async function findTicketOf(db: Database, caller: Caller, ticketId: string): Promise<Ticket> {
  return owned(caller, mayName(caller, ticketId) ? await Ticket.query(db).findById(ticketId) : undefined);
}

/** How long an answer is believed, in milliseconds: the many requests of one upload ask once. */
const CACHE_MS = 2_000;
const CACHE_ENTRIES = 10_000;

/** `findTicketOf` for the requests of uploads. Those of the same moment share the answer; its counters may be a little old. */
export function createTicketAccess(db: Database): (caller: Caller, ticketId: string) => Promise<Ticket> {
  // By the clock itself, as in identity/callers.ts.
  const known = new LRUCache<string, Ticket>({ max: CACHE_ENTRIES, ttl: CACHE_MS, ttlResolution: 0 });
  return async (caller, ticketId) => {
    const ticket = mayName(caller, ticketId) ? known.get(ticketId) : undefined;
    // Anybody else asks the database, as for a ticket that does not exist: a faster refusal would say that somebody uploads.
    if (ticket?.userId === caller.user.id) return ticket;
    const found = await findTicketOf(db, caller, ticketId);
    // Another request may have found it meanwhile: all are to have the same one.
    const shared = known.get(ticketId) ?? found;
    known.set(ticketId, shared, { noUpdateTTL: true });
    return shared;
  };
}
