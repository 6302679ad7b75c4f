import { userInfo } from 'node:os';
import type { Database } from '../../database/connection.ts';
import type { Image, Ticket } from '../../database/models.ts';

/** Who makes a change: a user of the panel, or `cli:<user of the operating system>`, who has no id here. */
export type Actor = { name: string; userId: string | null };

export const auditActions = [
  'ticket.update',
  'ticket.expire',
  'ticket.close',
  'ticket.delete',
  'image.retry',
  'user.create',
  'user.disable',
  'user.enable',
  'user.password',
  'user.sign-in',
  'user.sign-out',
  'user.sign-out-everywhere',
  'token.issue',
  'token.revoke',
] as const;
export type AuditAction = (typeof auditActions)[number];

/** What of the target is on record before and after the change; null where there is nothing, or nothing to show. */
export type Change = {
  action: AuditAction;
  target: string;
  before?: Record<string, unknown> | null;
  after?: Record<string, unknown> | null;
};

/** Puts a change on record. Call it in the transaction of the change: neither is there without the other. */
export async function recordChange(trx: Database, by: Actor, { action, target, before, after }: Change): Promise<void> {
  await trx('audit_log').insert({
    actor: by.name,
    actor_user_id: by.userId,
    action,
    target_kind: action.slice(0, action.indexOf('.')),
    target_id: target,
    before: before ? JSON.stringify(before) : null,
    after: after ? JSON.stringify(after) : null,
  });
}

/** Whoever runs the command. A container may run as a number without a name. */
export function commandLineActor(): Actor {
  let name: string;
  try {
    name = userInfo().username;
  } catch {
    name = `uid-${process.getuid?.() ?? 'unknown'}`;
  }
  return { name: `cli:${name}`, userId: null };
}

/** A ticket as the log keeps it: what an admin can change, and how far it was. */
export function ticketRecord(ticket: Ticket): Record<string, unknown> {
  const { status, expected, claimed, received, stored, failed, description, metadata, expiresAt } = ticket;
  return {
    ...{ status, expected, claimed, received, stored, failed, description, metadata },
    expiresAt: expiresAt.toISOString(),
  };
}

/** An image as the log keeps it. */
export function imageRecord({ ticketId, status, attempts, errorCode, errorMessage }: Image): Record<string, unknown> {
  return { ticketId, status, attempts, errorCode, errorMessage };
}
