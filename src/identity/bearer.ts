import type { Middleware } from 'koa';
import passport from 'koa-passport';
import { LRUCache } from 'lru-cache';
import { Strategy } from 'passport-http-bearer';
import type { Database } from '../database/connection.ts';
import { HoplaError } from '../errors.ts';
import type { State } from '../http/app.ts';
import { type Caller, findCaller, touchToken } from './tokens.ts';

export type CallerState = State & { caller: Caller };

/** How long a found token is believed, in milliseconds: revoking and disabling take effect within it. */
const CACHE_MS = 2_000;
/** 10,000 entries of about 0.5 KiB: 5 MiB at most. */
const CACHE_ENTRIES = 10_000;

/** A middleware that lets only callers with a valid bearer token pass, as `ctx.state.caller`. */
export function createAuthentication(db: Database): Middleware<CallerState> {
  const known = new LRUCache<string, Caller>({ max: CACHE_ENTRIES, ttl: CACHE_MS });

  const recognise = async (token: string): Promise<Caller | null> => {
    const cached = known.get(token);
    if (cached) return cached;
    const caller = await findCaller(db, token);
    if (!caller) return null;
    known.set(token, caller);
    // Worth no waiting and no failure of the request: the next use notes it again.
    touchToken(db, caller.tokenId).catch(() => {});
    return caller;
  };

  const authenticator = new passport.KoaPassport();
  authenticator.use(
    new Strategy((token, done) => {
      recognise(token).then(
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
    ctx.state.log = ctx.state.log.child({ user: caller.user.username });
    await next();
  };
}

/** Lets user tokens pass and upload tokens not. */
export const requireUserToken: Middleware<CallerState> = async (ctx, next) => {
  if (ctx.state.caller.kind !== 'user')
    throw new HoplaError('forbidden', 'An upload token works for its own ticket only.');
  await next();
};
