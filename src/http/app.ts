import { randomUUID } from 'node:crypto';
import Koa, { type DefaultContext, type Middleware, type ParameterizedContext } from 'koa';
import type { Logger } from 'pino';
import type { HoplaError } from '../model/errors.ts';
import { shareWithOrigins } from './cors.ts';
import { toHoplaError, toProblem } from './problem.ts';
import { answerOtherMethods, checkHost, checkRequest } from './request.ts';

/** What every request carries through the middleware chain. */
export type State = {
  requestId: string;
  /** Whose request it is, and what it is about, as far as that is known: each line of its log says so. */
  about: Record<string, string>;
  /** A logger made for the next line, as most requests have none but the last. */
  readonly log: Logger;
};
export type Context<S = State> = ParameterizedContext<S, DefaultContext>;

/** A part of the app that is for its own origin alone. What it says holds for every answer below `path`, whoever makes it. */
export type Area = {
  /** Without a slash at the end. */
  path: string;
  headers: Record<string, string>;
  showError(ctx: Context, error: HoplaError): void;
};

export type AppOptions = {
  log: Logger;
  allowedOrigins: readonly string[];
  trustProxy: boolean;
  headers?: Record<string, string>;
  area?: Area;
};

/**
 * Builds the Koa app around the routes: request ids, log, CORS, problem documents.
 *
 * The order matters: an error is rendered inside the CORS layer, so that a browser may read it; the request id is
 * outermost, so that every answer has one.
 */
export function createApp(routes: Middleware<State>[], options: AppOptions): Koa<State> {
  const { log, area, headers = standingHeaders(undefined) } = options;
  const isClosed = (path: string | null) => area !== undefined && isBelow(area.path, path);
  const app = new Koa<State>();
  app.proxy = options.trustProxy;
  // Of X-Forwarded-For only the last address is the proxy's own word; those before it are whatever the client wrote.
  app.maxIpsCount = 1;
  app.use(identifyRequest(log, headers));
  if (area) app.use(frame(area));
  for (const share of shareWithOrigins(options.allowedOrigins, isClosed)) app.use(share);
  app.use(renderErrors(area));
  app.use(checkRequest);
  app.use(checkHost);
  app.use(answerOtherMethods);
  for (const route of routes) app.use(route);
  // Everything is rendered above; what still arrives here is a client that left in the middle of an answer.
  app.on('error', (error: unknown) => log.debug({ err: error }, 'response ended early'));
  return app;
}

/**
 * What every answer has: a page that forgets its own policy may run and show nothing. HSTS (RFC 6797) where the gateway
 * is reached by https.
 */
export function standingHeaders(publicUrl: string | undefined): Record<string, string> {
  return {
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'X-Frame-Options': 'DENY',
    'Referrer-Policy': 'no-referrer',
    ...(publicUrl?.startsWith('https:') ? { 'Strict-Transport-Security': 'max-age=31536000' } : {}),
  };
}

/** Koa finds no path in `GET http://`. */
function isBelow(areaPath: string, path: string | null): boolean {
  return path !== null && (path === areaPath || path.startsWith(`${areaPath}/`));
}

/** Sets what every answer of an area has, before anything can answer. */
function frame({ path, headers }: Area): Middleware<State> {
  return (ctx, next) => {
    if (isBelow(path, ctx.path)) ctx.set(headers);
    return next();
  };
}

const SANE_REQUEST_ID = /^[\w.:-]{1,128}$/;

function identifyRequest(log: Logger, headers: Record<string, string>): Middleware<State> {
  return async (ctx, next) => {
    const started = performance.now();
    const offered = ctx.get('X-Request-Id');
    const requestId = SANE_REQUEST_ID.test(offered) ? offered : randomUUID();
    ctx.state = stateOf(log, requestId);
    ctx.set('X-Request-Id', requestId);
    ctx.set(headers);
    await next();
    const { method, path, status } = ctx;
    const reading = method === 'GET' || method === 'HEAD' || method === 'OPTIONS';
    const level = reading && status < 400 ? 'debug' : 'info';
    log[level]({ ...ctx.state.about, method, path, status, ms: Math.round(performance.now() - started) }, 'request');
  };
}

function stateOf(log: Logger, requestId: string): State {
  const about = { requestId };
  return {
    requestId,
    about,
    get log() {
      return log.child(about);
    },
  };
}

/** Renders what the routes throw. */
function renderErrors(area: Area | undefined): Middleware<State> {
  return async (ctx, next) => {
    try {
      await next();
    } catch (thrown) {
      const error = toHoplaError(thrown);
      // A 503 without a cause refuses one request too many. It is no fault, and a flood must not fill the log.
      const failed = !error.expose && !(error.code === 'service-unavailable' && error.cause === undefined);
      if (failed) ctx.state.log.error({ err: error.cause ?? error, code: error.code }, error.title);
      else ctx.state.log.debug({ code: error.code, detail: error.message }, 'refused');
      if (area && isBelow(area.path, ctx.path)) {
        ctx.set({ ...area.headers, ...error.headers });
        return area.showError(ctx, error);
      }
      const problem = toProblem(error, ctx.state.requestId);
      ctx.status = problem.status;
      ctx.body = JSON.stringify(problem.body);
      ctx.set(problem.headers);
    }
  };
}
