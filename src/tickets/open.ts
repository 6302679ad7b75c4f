import { createHash, randomUUIDv7 } from 'node:crypto';
import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { Ticket } from '../database/models.ts';
import { isStorableText, UNSTORABLE } from '../http/json-body.ts';
import { issueToken } from '../identity/tokens.ts';
import { HoplaError } from '../model/errors.ts';
import { assertOpenTickets } from './quotas.ts';

const METADATA_BYTES = 4096;
/** Deeper than any real data, and less than what the JSON readers of other languages take. */
const METADATA_DEPTH = 32;
const DAY_SECONDS = 86_400;

/** Body of `POST /v1/tickets`. */
export const TicketRequest = z.strictObject({
  images: z.int().min(1).max(1000).describe('how many images the ticket takes'),
  description: z.string().max(255).nullable().default(null).refine(isStorableText, UNSTORABLE),
  metadata: z
    .record(z.string(), z.unknown())
    .nullable()
    .default(null)
    .superRefine((value, context) => {
      const problem = metadataProblem(value);
      if (problem) context.addIssue({ code: 'custom', message: problem });
    })
    .describe('the application’s own data, handed back as it is'),
  expiresIn: z
    .int()
    .min(60)
    .max(7 * DAY_SECONDS)
    .default(DAY_SECONDS)
    .describe('seconds until no more images are taken'),
});
export type TicketRequest = z.output<typeof TicketRequest>;

/** Why this came out of JSON and cannot be kept, or null. */
function metadataProblem(metadata: unknown): string | null {
  // Level by level and not by recursion: a body of 64 KiB nests deeper than the stack.
  let level: unknown[] = [metadata];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > METADATA_DEPTH) return `must be nested at most ${METADATA_DEPTH} levels deep`;
    const leaves = level.filter((value) => typeof value !== 'object');
    if (leaves.some((value) => typeof value === 'string' && !isStorableText(value))) return UNSTORABLE;
    if (leaves.some((value) => typeof value === 'number' && !Number.isFinite(value)))
      return 'must not contain numbers beyond 1.8e308';
    const nodes = level.filter((value) => typeof value === 'object' && value !== null);
    level = nodes.flatMap((node) => (Array.isArray(node) ? node : Object.entries(node).flat()));
  }
  const bytes = Buffer.byteLength(JSON.stringify(metadata));
  return bytes > METADATA_BYTES ? `must have at most ${METADATA_BYTES} bytes as JSON` : null;
}

/** The upload token outlives its ticket by this many milliseconds, so that its holder sees the last images delivered. */
export const WATCH_AFTER_EXPIRY_MS = DAY_SECONDS * 1000;

/**
 * Opens a ticket and issues its upload token.
 *
 * With an idempotency key a repeat finds the ticket of the first call and gets a fresh token; the same key with
 * another body is 422 `idempotency-key-reused`. Throws `quota-exceeded` for one more open ticket than `maxOpenTickets`.
 */
export async function openTicket(
  db: Database,
  userId: string,
  request: TicketRequest,
  idempotencyKey: string | null,
  maxOpenTickets?: number,
): Promise<{ ticket: Ticket; uploadToken: string }> {
  const idempotencySha256 =
    idempotencyKey === null ? null : createHash('sha256').update(JSON.stringify(request)).digest();
  return db.transaction(async (trx) => {
    const [row] = await trx('tickets')
      .insert({
        id: randomUUIDv7(),
        user_id: userId,
        expected: request.images,
        description: request.description,
        metadata: request.metadata,
        idempotency_key: idempotencyKey,
        idempotency_sha256: idempotencySha256,
        expires_at: trx.raw('now() + make_interval(secs => ?)', [request.expiresIn]),
      })
      .onConflict(trx.raw('(user_id, idempotency_key) WHERE idempotency_key IS NOT NULL'))
      .ignore()
      .returning('*');
    if (row && maxOpenTickets !== undefined) await assertOpenTickets(trx, userId, maxOpenTickets);
    const ticket = row
      ? Ticket.fromDatabaseJson(row)
      : await findRepeated(trx, userId, idempotencyKey, idempotencySha256);
    const expiresAt = new Date(ticket.expiresAt.getTime() + WATCH_AFTER_EXPIRY_MS);
    const { token } = await issueToken(trx, { userId, ticketId: ticket.id, label: 'upload', expiresAt });
    return { ticket, uploadToken: token };
  });
}

async function findRepeated(db: Database, userId: string, key: string | null, sha256: Buffer | null): Promise<Ticket> {
  const ticket = await Ticket.query(db).findOne({ user_id: userId, idempotency_key: key }).throwIfNotFound();
  if (sha256 && ticket.idempotencySha256?.equals(sha256)) return ticket;
  throw new HoplaError('idempotency-key-reused', 'This Idempotency-Key was used with another body; take a new one.');
}
