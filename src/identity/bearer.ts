import type { Middleware, ParameterizedContext } from 'koa';
import passport from 'koa-passport';
import { Strategy } from 'passport-http-bearer';
import type { State } from '../http/app.ts';
import { headerLines } from '../http/request.ts';
import { HoplaError } from '../model/errors.ts';
import type { Callers } from './callers.ts';
import type { Caller } from './tokens.ts';

/** Read `caller` with `callerOf`. */
export type CallerState = State & { caller?: Caller };

/** What Authorization headers begin with, nearly always. */
const SCHEME = 'Bearer ';

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

  const authenticate = async (ctx: ParameterizedContext): Promise<Caller> => {
    let caller: Caller | undefined;
    const ask = authenticator.authenticate('bearer', { session: false }, (error: unknown, found: Caller | false) => {
      if (error) throw error;
      if (found) caller = found;
    });
    await ask(ctx, async () => {});
    return caller ?? refuse();
  };

  /** Who was authenticated by the same header a moment ago: making a request of ours into one of Passport's costs more than all else here. */
  const recall = (header: string): Caller | null =>
    header.startsWith(SCHEME) ? callers.recall(header.slice(SCHEME.length)) : null;

  return (ctx, next) => {
    // RFC 6750 section 2.3 allows it and section 5.3 says why not: URLs end up in logs and histories.
    if (ctx.querystring !== '' && ctx.query.access_token !== undefined) {
      throw new HoplaError('unauthorized', 'Send the token in the Authorization header, never in the URL.');
    }
    // Node takes the first of several and a proxy perhaps another: then nobody knows who was let in.
    if (headerLines(ctx.req, 'authorization').length > 1)
      throw new HoplaError('unauthorized', 'Send one Authorization header.');
    const pass = (caller: Caller) => {
      ctx.state.caller = caller;
      ctx.state.about.user = caller.user.username;
      return next();
    };
    const known = recall(ctx.headers.authorization ?? '');
    return known ? pass(known) : authenticate(ctx).then(pass);
  };
}

/**
 * The caller of a request. A handler has no other way to its caller, so that one behind no authentication refuses everybody
 * instead of serving everybody. Throws 401 `unauthorized`.
 */
export function callerOf(ctx: { state: CallerState }): Caller {
  return ctx.state.caller ?? refuse();
}

/** The same for what an upload token may not do. Throws 403 `forbidden` also. */
export function userCallerOf(ctx: { state: CallerState }): Caller {
  const caller = callerOf(ctx);
  if (caller.kind === 'user') return caller;
  throw new HoplaError('forbidden', 'An upload token works for its own ticket only.');
}

/** Lets user tokens pass and upload tokens not, before the body is read. */
export const requireUserToken: Middleware<CallerState> = (ctx, next) => {
  userCallerOf(ctx);
  return next();
};

function refuse(): never {
  throw new HoplaError('unauthorized', 'Send a valid token as Authorization: Bearer <token>.');
}
