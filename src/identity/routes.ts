import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { HoplaError } from '../errors.ts';
import { isStorableText, jsonBody, parseInput, UNSTORABLE } from '../http/json-body.ts';
import { createRateLimit } from '../http/rate-limit.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { type CallerState, type createAuthentication, requireUserToken } from './bearer.ts';
import type { Callers } from './callers.ts';
import { createGate } from './gate.ts';
import { issueToken, revokeToken } from './tokens.ts';
import { checkCredentials } from './users.ts';

const HOUR_MS = 3_600_000;
/** A check takes 64 MiB and one of the threads that also write the images (bin/hopla): a flood of logins leaves them the others. */
const CHECKS_AT_ONCE = 2;

export const Credentials = z.strictObject({
  username: z.string().min(1).max(100).refine(isStorableText, UNSTORABLE),
  password: z.string().min(1).max(1000),
});

export type IdentityDeps = {
  db: Database;
  callers: Callers;
  authenticate: ReturnType<typeof createAuthentication>;
  sessionHours: number;
  failuresPerMinute: number;
};

/** `POST /v1/auth/login`, `POST /v1/auth/logout`. */
export function identityRoutes({
  db,
  callers,
  authenticate,
  sessionHours,
  failuresPerMinute,
}: IdentityDeps): Routes<CallerState> {
  const router = createRouter<CallerState>();
  const oneOfFew = createGate(CHECKS_AT_ONCE);
  const failures = createRateLimit(failuresPerMinute, 'failed logins');

  router.post('/v1/auth/login', jsonBody, async (ctx) => {
    const { username, password } = parseInput(Credentials, ctx.request.body);
    // Taken before the password is looked at and given back on success, so that parallel guesses count as well.
    const keys = [`name:${username.toLowerCase()}`, `address:${ctx.ip}`];
    for (const key of keys) await failures.take(key);
    const user = await oneOfFew(() => checkCredentials(db, username, password));
    if (!user) throw new HoplaError('invalid-credentials');
    for (const key of keys) await failures.giveBack(key);
    const expiresAt = new Date(Date.now() + sessionHours * HOUR_MS);
    const { token } = await issueToken(db, { userId: user.id, label: 'login', expiresAt });
    ctx.status = 201;
    ctx.set('Cache-Control', 'no-store');
    ctx.body = {
      token,
      tokenType: 'Bearer',
      expiresAt: expiresAt.toISOString(),
      user: { id: user.id, username: user.username },
    };
  });

  router.post('/v1/auth/logout', authenticate, requireUserToken, async (ctx) => {
    const { tokenId } = ctx.state.caller;
    await revokeToken(db, tokenId);
    callers.forget(tokenId);
    ctx.status = 204;
  });

  return router;
}
