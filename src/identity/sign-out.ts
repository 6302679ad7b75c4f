import type { Database } from '../database/connection.ts';

/**
 * Ends the sessions of a user in the panel and the tokens of its logins; with `issued` every other token too, those of
 * applications and tickets. Resolves to the ids of the tokens that worked until now, for `callers.forget`.
 */
export async function signOutEverywhere(trx: Database, userId: string, { issued = false } = {}): Promise<string[]> {
  await endSessions(trx, userId);
  const tokens = trx('tokens')
    .where({ user_id: userId })
    .whereNull('revoked_at')
    .whereRaw('(expires_at IS NULL OR expires_at > now())');
  if (!issued) tokens.where({ is_login: true });
  const revoked: { id: string }[] = await tokens.update({ revoked_at: new Date() }).returning('id');
  return revoked.map(({ id }) => id);
}

export async function endSessions(trx: Database, userId: string): Promise<void> {
  await trx('sessions').where({ user_id: userId }).delete();
}
