import type { Middleware } from 'koa';
import passport from 'koa-passport';
import { Strategy } from 'passport-http-bearer';
import { HoplaError } from '../errors.ts';
import type { State } from '../http/app.ts';
import { headerLines } from '../http/request.ts';
import type { Callers } from './callers.ts';
import type { Caller } from './tokens.ts';

export type CallerState = State & { caller: Caller };

/** A middleware that lets only callers with a valid bearer token pass, as `ctx.state.caller`. */
export function createAuthentication(callers: Callers): Middleware<CallerState> {
  const authenticator = new passport.KoaPassport();
  authenticator.use(
    new Strategy((token, done) => {
      callers.find(token).then(
        (caller) => done(null, caller ?? false),
        (error: unknown) => done(error),
      );
    }),
  );

  return async (ctx, next) => {
    // RFC 6750 section 2.3 allows it and section 5.3 says why not: URLs end up in logs and histories.
    if (ctx.query.access_token !== undefined) {
      throw new HoplaError('unauthorized', 'Send the token in the Authorization header, never in the URL.');
    }
    // Node takes the first of several and a proxy perhaps another: then nobody knows who was let in.
    if (headerLines(ctx.req, 'authorization').length > 1)
      throw new HoplaError('unauthorized', 'Send one Authorization header.');
    let caller: Caller | undefined;
    const authenticate = authenticator.authenticate(
      'bearer',
      { session: false },
      (error: unknown, found: Caller | false) => {
        if (error) throw error;
        if (found) caller = found;
      },
    );
    await authenticate(ctx, async () => {});
    if (!caller) throw new HoplaError('unauthorized', 'Send a valid token as Authorization: Bearer <token>.');
    ctx.state.caller = caller;
    ctx.state.log.setBindings({ user: caller.user.username });
    await next();
  };
}

/** Lets user tokens pass and upload tokens not. */
export const requireUserToken: Middleware<CallerState> = async (ctx, next) => {
  if (ctx.state.caller.kind !== 'user')
    throw new HoplaError('forbidden', 'An upload token works for its own ticket only.');
  await next();
};
