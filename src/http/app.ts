import { randomUUID } from 'node:crypto';
import cors from '@koa/cors';
import Koa, { type DefaultContext, type Middleware, type ParameterizedContext } from 'koa';
import type { Logger } from 'pino';
import { toHoplaError, toProblem } from './problem.ts';
import { answerOtherMethods, checkHost } from './request.ts';

/** What every request carries through the middleware chain. */
export type State = {
  requestId: string;
  /** Whose request it is, and what it is about, as far as that is known: each line of its log says so. */
  about: Record<string, string>;
  /** A logger made for the next line, as most requests have none but the last. */
  readonly log: Logger;
};
export type Context<S = State> = ParameterizedContext<S, DefaultContext>;

const TUS_REQUEST_HEADERS = [
  'Tus-Resumable',
  'Upload-Length',
  'Upload-Defer-Length',
  'Upload-Metadata',
  'Upload-Offset',
  'Upload-Checksum',
  'Upload-Concat',
  'X-HTTP-Method-Override',
  'X-Requested-With',
];
const REQUEST_HEADERS = [
  'Authorization',
  'Content-Type',
  'Idempotency-Key',
  'If-None-Match',
  'Last-Event-ID',
  'X-Request-Id',
  ...TUS_REQUEST_HEADERS,
];
const RESPONSE_HEADERS = [
  'ETag',
  'Link',
  'Location',
  'Retry-After',
  'Tus-Resumable',
  'Tus-Version',
  'Tus-Extension',
  'Tus-Max-Size',
  'Upload-Offset',
  'Upload-Length',
  'Upload-Defer-Length',
  'Upload-Metadata',
  'Upload-Expires',
  'X-Request-Id',
];

/**
 * Builds the Koa app around the routes: request ids, log, CORS, problem documents.
 *
 * The order matters: an error is rendered inside the CORS layer, so that a browser may read it; the request id is
 * outermost, so that every answer has one.
 */
export function createApp(
  routes: Middleware<State>[],
  options: { log: Logger; allowedOrigins: readonly string[]; trustProxy: boolean },
): Koa<State> {
  const app = new Koa<State>();
  app.proxy = options.trustProxy;
  // Of X-Forwarded-For only the last address is the proxy's own word; those before it are whatever the client wrote.
  app.maxIpsCount = 1;
  app.use(identifyRequest(options.log));
  app.use(
    cors({
      origin: (ctx) => allowedOrigin(options.allowedOrigins, ctx.get('Origin')),
      allowMethods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'],
      allowHeaders: REQUEST_HEADERS,
      exposeHeaders: RESPONSE_HEADERS,
      maxAge: 86_400,
    }),
  );
  app.use(exposeOptions(options.allowedOrigins));
  app.use(renderErrors);
  app.use(checkHost);
  app.use(answerOtherMethods);
  for (const route of routes) app.use(route);
  // Everything is rendered above; what still arrives here is a client that left in the middle of an answer.
  app.on('error', (error: unknown) => options.log.debug({ err: error }, 'response ended early'));
  return app;
}

function allowedOrigin(allowed: readonly string[], origin: string): string {
  if (allowed.includes('*')) return '*';
  return allowed.includes(origin) ? origin : '';
}

/** @koa/cors leaves out an OPTIONS that is no preflight; a tus client asks one for the extensions. */
function exposeOptions(allowedOrigins: readonly string[]): Middleware<State> {
  return (ctx, next) => {
    const origin = ctx.method === 'OPTIONS' ? allowedOrigin(allowedOrigins, ctx.get('Origin')) : '';
    if (origin !== '') {
      ctx.set('Access-Control-Allow-Origin', origin);
      ctx.set('Access-Control-Expose-Headers', RESPONSE_HEADERS.join(','));
    }
    return next();
  };
}

const SANE_REQUEST_ID = /^[\w.:-]{1,128}$/;

function identifyRequest(log: Logger): Middleware<State> {
  return async (ctx, next) => {
    const started = performance.now();
    const offered = ctx.get('X-Request-Id');
    const requestId = SANE_REQUEST_ID.test(offered) ? offered : randomUUID();
    ctx.state = stateOf(log, requestId);
    ctx.set({ 'X-Request-Id': requestId, 'X-Content-Type-Options': 'nosniff' });
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
const renderErrors: Middleware<State> = async (ctx, next) => {
  try {
    await next();
  } catch (thrown) {
    const error = toHoplaError(thrown);
    if (!error.expose) ctx.state.log.error({ err: error.cause ?? error, code: error.code }, error.title);
    else ctx.state.log.debug({ code: error.code, detail: error.message }, 'refused');
    const problem = toProblem(error, ctx.state.requestId);
    ctx.status = problem.status;
    ctx.body = JSON.stringify(problem.body);
    ctx.set(problem.headers);
  }
};
