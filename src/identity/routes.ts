import type { Middleware } from 'koa';
import { z } from 'zod';
import type { Database } from '../database/connection.ts';
import { isStorableText, jsonBody, parseInput, UNSTORABLE } from '../http/json-body.ts';
import { untilClosed } from '../http/request.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { HoplaError } from '../model/errors.ts';
import { type CallerState, callerOf, type createAuthentication, requireUserToken, userCallerOf } from './bearer.ts';
import type { Callers } from './callers.ts';
import { changeOwnPassword } from './password-change.ts';
import type { PasswordChecks } from './password-checks.ts';
import { LONGEST_PASSWORD, NewPassword } from './passwords.ts';
import { signOutEverywhere } from './sign-out.ts';
import { type Caller, issueToken, revokeToken } from './tokens.ts';
import { checkCredentials, holdCredentials } from './users.ts';

const HOUR_MS = 3_600_000;

const PresentPassword = z.string().min(1).max(LONGEST_PASSWORD);

export const Credentials = z.strictObject({
  username: z.string().min(1).max(100).refine(isStorableText, UNSTORABLE),
  password: PresentPassword,
});

export const PasswordRequest = z.strictObject({
  current: PresentPassword,
  next: NewPassword,
  everywhere: z
    .boolean()
    .default(false)
    .describe('end all sessions and login tokens of the user, also the one presented'),
});

export const LogoutRequest = z.strictObject({
  everywhere: z.boolean().default(false).describe('end all sessions and login tokens of the user'),
});

export type IdentityDeps = {
  db: Database;
  callers: Callers;
  authenticate: ReturnType<typeof createAuthentication>;
  sessionHours: number;
  passwordChecks: PasswordChecks;
};

/** `POST /v1/auth/login`, `POST /v1/auth/logout`, `POST /v1/auth/password`. */
export function identityRoutes(deps: IdentityDeps): Routes<CallerState> {
  const router = createRouter<CallerState>();
  loginRoute(router, deps);
  logoutRoute(router, deps);
  passwordRoute(router, deps);
  return router;
}

function loginRoute(router: Routes<CallerState>, { db, sessionHours, passwordChecks }: IdentityDeps): void {
  router.post('/v1/auth/login', jsonBody, async (ctx) => {
    const { username, password } = parseInput(Credentials, ctx.request.body);
    const attempt = { username, address: ctx.ip, signal: untilClosed(ctx.res) };
    const user = await passwordChecks.run(attempt, () => checkCredentials(db, username, password));
    const expiresAt = new Date(Date.now() + sessionHours * HOUR_MS);
    const { token } = await db.transaction(async (trx) => {
      await holdCredentials(trx, user);
      return issueToken(trx, { userId: user.id, label: 'login', isLogin: true, expiresAt });
    });
    ctx.status = 201;
    ctx.set('Cache-Control', 'no-store');
    ctx.body = {
      token,
      tokenType: 'Bearer',
      expiresAt: expiresAt.toISOString(),
      user: { id: user.id, username: user.username },
    };
  });
}

/** Most clients log out without a body. */
const optionalJsonBody: Middleware = async (ctx, next) => {
  const { 'transfer-encoding': chunked, 'content-length': length } = ctx.req.headers;
  if (chunked === undefined && !Number(length)) await next();
  else await jsonBody(ctx, next);
};

function logoutRoute(router: Routes<CallerState>, { db, callers, authenticate }: IdentityDeps): void {
  router.post('/v1/auth/logout', authenticate, requireUserToken, optionalJsonBody, async (ctx) => {
    const { everywhere } = parseInput(LogoutRequest, ctx.request.body ?? {});
    const { tokenId, user } = userCallerOf(ctx);
    const ended = await db.transaction(async (trx) => {
      await revokeToken(trx, tokenId);
      return everywhere ? signOutEverywhere(trx, user.id) : [];
    });
    for (const id of [tokenId, ...ended]) callers.forget(id);
    ctx.status = 204;
  });
}

function passwordRoute(router: Routes<CallerState>, deps: IdentityDeps): void {
  const { db, callers, authenticate, passwordChecks } = deps;
  router.post('/v1/auth/password', authenticate, requireLogin, jsonBody, async (ctx) => {
    const change = parseInput(PasswordRequest, ctx.request.body);
    const { user } = loginCallerOf(ctx);
    const attempt = { username: user.username, address: ctx.ip, signal: untilClosed(ctx.res) };
    const ended = await passwordChecks.run(attempt, () => changeOwnPassword(db, user.id, change));
    for (const id of ended) callers.forget(id);
    ctx.state.log.info({ ended: ended.length }, 'a user changed the password');
    ctx.status = 204;
  });
}

/** A token that an admin issued stands for an application, and an upload token for a guest: neither is the user in person. */
function loginCallerOf(ctx: { state: CallerState }): Caller {
  const caller = callerOf(ctx);
  if (caller.isLogin) return caller;
  throw new HoplaError('forbidden', 'Log in with the present password to change it.');
}

const requireLogin: Middleware<CallerState> = async (ctx, next) => {
  loginCallerOf(ctx);
  await next();
};
