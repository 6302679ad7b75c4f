import type { Database } from '../../database/connection.ts';
import { Ticket, Token } from '../../database/models.ts';
import { parseInput } from '../../http/json-body.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import { TicketRequest, WATCH_AFTER_EXPIRY_MS } from '../../tickets/open.ts';
import { type Actor, recordChange, ticketRecord } from './audit.ts';
import { noTicket } from './find.ts';

/** What may be changed of a ticket; what is left out stays. Limits are those of opening one. */
export type TicketChanges = {
  description?: string | null;
  metadata?: unknown;
  images?: number;
  expiresAt?: Date;
};

/** A new expiry farther ahead than this is a slip of the hand. */
const LONGEST_LIFE_MS = 10 * 365 * 86_400_000;

/**
 * Changes a ticket, and tells whoever watches. Throws `ticket-not-found` and `invalid-request`.
 *
 * The number of images cannot go below the places taken. Lowered to what is stored it completes the ticket; raised, a
 * completed ticket is open again (`completedAt` is null until the new number is stored). Raising needs time to use it:
 * a ticket that ran out of time has to be extended with it. A new expiry lies ahead, and opens an expired ticket again:
 * uploads that had ended stay ended, their places are free.
 */
export async function updateTicket(db: Database, by: Actor, ticketId: string, changes: TicketChanges): Promise<Ticket> {
  if (!isId(ticketId)) throw noTicket(ticketId);
  return db.transaction(async (trx) => {
    const before = await Ticket.query(trx).findById(ticketId).forUpdate();
    if (!before) throw noTicket(ticketId);
    const { images, description, metadata } = parseInput(TicketRequest, {
      images: changes.images ?? before.expected,
      description: changes.description === undefined ? before.description : changes.description,
      metadata: changes.metadata === undefined ? before.metadata : changes.metadata,
    });
    const expiresAt = changes.expiresAt ?? before.expiresAt;
    assertPossible(before, changes);
    const { rows } = (await trx.raw(
      `WITH changed AS (
         UPDATE tickets SET
           expected = :images, description = :description, metadata = :metadata, expires_at = :expiresAt,
           expired = expired AND NOT :extended,
           completed_at = CASE WHEN stored = :images THEN coalesce(completed_at, now()) END,
           version = version + 1, updated_at = now()
         WHERE id = :ticketId RETURNING *
       ) SELECT to_jsonb(changed) AS ticket, announce(to_jsonb(changed), NULL) FROM changed`,
      {
        ticketId,
        images,
        description,
        metadata: metadata === null ? null : JSON.stringify(metadata),
        expiresAt,
        extended: changes.expiresAt !== undefined,
      } as never,
    )) as { rows: { ticket: Record<string, unknown> }[] };
    if (changes.expiresAt) await moveUploadTokens(trx, before, changes.expiresAt);
    const ticket: Ticket = Ticket.fromJsonRow(rows[0]?.ticket ?? {});
    const change = { target: ticketId, before: ticketRecord(before), after: ticketRecord(ticket) };
    await recordChange(trx, by, { action: 'ticket.update', ...change });
    return ticket;
  });
}

function assertPossible(ticket: Ticket, { images, expiresAt }: TicketChanges): void {
  const now = Date.now();
  const impossible = (detail: string) => new HoplaError('invalid-request', detail);
  if (images !== undefined && images < ticket.claimed)
    throw impossible(`${ticket.claimed} places of this ticket are taken, so it cannot have fewer images than that.`);
  if (expiresAt && !(expiresAt.getTime() > now))
    throw impossible('A new expiry must lie in the future; to close a ticket now, expire it.');
  if (expiresAt && expiresAt.getTime() > now + LONGEST_LIFE_MS)
    throw impossible('A new expiry must lie within the next ten years.');
  const closed = ticket.expired || ticket.expiresAt.getTime() <= now;
  if (images !== undefined && images > ticket.expected && closed && !expiresAt)
    throw impossible('The time of this ticket has run out, so it would take no more images; give it a new expiry too.');
}

/** Upload tokens that live as long as the ticket go on doing so; those with an expiry of their own keep it. */
async function moveUploadTokens(trx: Database, before: Ticket, expiresAt: Date): Promise<void> {
  const endOf = (time: Date) => new Date(time.getTime() + WATCH_AFTER_EXPIRY_MS);
  await Token.query(trx)
    .patch({ expiresAt: endOf(expiresAt) })
    .where({ ticket_id: before.id, expires_at: endOf(before.expiresAt) });
}
