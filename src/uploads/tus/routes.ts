import type { Middleware } from 'koa';
import type { Context } from '../../http/app.ts';
import { toHoplaError } from '../../http/problem.ts';
import { createRouter } from '../../http/router.ts';
import { type CallerState, callerOf, type createAuthentication } from '../../identity/bearer.ts';
import { HoplaError } from '../../model/errors.ts';
import type { Reach } from '../../runtime/failpoints.ts';
import type { createTicketAccess } from '../../tickets/access.ts';
import type { TusServer } from './dispatch.ts';
import { assertOffsetStream, hasContent } from './upload-body.ts';

export type UploadDeps = {
  authenticate: ReturnType<typeof createAuthentication>;
  ticketAccess: ReturnType<typeof createTicketAccess>;
  tus: TusServer;
  baseUrlOf: (ctx: { protocol: string; host: string }) => string;
  reach: Reach;
};

const TUS_VERSION = '1.0.0';
const ENDPOINT = '/v1/tickets/:ticketId/uploads';
const ADDRESS = /^\/v1\/tickets\/[^/]+\/uploads(\/|$)/;

/** `/v1/tickets/:ticketId/uploads` and `/v1/tickets/:ticketId/uploads/:imageId`: tus 1.0.0, one endpoint per ticket. */
export function uploadRoutes(deps: UploadDeps): Middleware<CallerState>[] {
  const router = createRouter<CallerState>();
  const chain = [shieldUploads, deps.authenticate, serveUpload(deps)] as const;
  router.post(ENDPOINT, ...chain);
  router.options(ENDPOINT, ...chain);
  router.register(`${ENDPOINT}/:imageId`, ['HEAD', 'PATCH', 'DELETE', 'OPTIONS'], [...chain]);
  return [overrideMethod, router.routes() as Middleware<CallerState>];
}

/** For networks that let through nothing but GET and POST (tus 1.0.0, X-HTTP-Method-Override). */
const overrideMethod: Middleware = (ctx, next) => {
  const override = ctx.get('X-HTTP-Method-Override').toUpperCase();
  if (ctx.method === 'POST' && ['PATCH', 'DELETE', 'HEAD', 'OPTIONS'].includes(override) && ADDRESS.test(ctx.path))
    ctx.method = override;
  return next();
};

/**
 * Stock clients answer a 5xx on HEAD by uploading a second copy, and after one on PATCH they ask HEAD. So what we
 * cannot answer is 423 there: come back later, to this upload. Want of room for the bytes of a PATCH is 507: the upload
 * stands where it stood, and HEAD says so.
 */
const shieldUploads: Middleware<CallerState> = async (ctx, next) => {
  ctx.set('Tus-Resumable', TUS_VERSION);
  try {
    await next();
  } catch (thrown) {
    const error = toHoplaError(thrown);
    if (error.status === 423 && error.cause)
      ctx.state.log.warn({ err: error.cause, code: error.code }, 'upload delayed');
    if (error.status < 500 || error.status === 507 || ctx.method === 'POST' || ctx.method === 'OPTIONS') throw error;
    ctx.state.log.error({ err: error.cause ?? error }, 'upload delayed');
    throw new HoplaError('upload-unavailable', undefined, { retryAfterMs: 1000 });
  }
};

function checkProtocol(ctx: Context): void {
  // "If the version specified by the Client is not supported by the Server, it MUST respond with the 412 Precondition
  // Failed status and MUST include the Tus-Version header." OPTIONS is how a client asks for the version.
  if (ctx.method !== 'OPTIONS' && ctx.get('Tus-Resumable') !== TUS_VERSION) {
    throw new HoplaError('unsupported-tus-version', `Send Tus-Resumable: ${TUS_VERSION}.`, {
      headers: { 'Tus-Version': TUS_VERSION },
    });
  }
  // "All PATCH requests MUST use Content-Type: application/offset+octet-stream, otherwise the server SHOULD return a
  // 415 Unsupported Media Type status." A creation without a body may have any type: Android sends one by itself.
  if (ctx.method === 'PATCH' || (ctx.method === 'POST' && hasContent(ctx.req.headers)))
    assertOffsetStream(ctx.req.headers);
  const offset = ctx.get('Upload-Offset');
  // A creation may do without; @tus/server looks at that of the others.
  const expected = ctx.method === 'PATCH' || (ctx.method === 'POST' && offset !== '');
  if (expected && !/^\d{1,15}$/.test(offset)) {
    throw new HoplaError('malformed-request', 'Send Upload-Offset, a whole number of bytes.');
  }
}

function serveUpload({ ticketAccess, tus, baseUrlOf, reach }: UploadDeps): Middleware<CallerState> {
  return async (ctx) => {
    checkProtocol(ctx);
    const { ticketId = '', imageId = null } = ctx.params as { ticketId?: string; imageId?: string };
    const caller = callerOf(ctx);
    const ticket = await ticketAccess(caller, ticketId);
    ctx.state.about.ticketId = ticketId;
    if (imageId) ctx.state.about.imageId = imageId;
    const { status, headers, finished } = await tus(ctx.req, ctx.method, {
      ticketId,
      userId: ticket.userId,
      ticket,
      caller,
      imageId,
      baseUrl: baseUrlOf(ctx),
    });
    for (const [name, value] of headers) {
      // CORS is the app's, once for every route.
      if (!name.startsWith('access-control-')) ctx.set(name, value);
    }
    if (ctx.method !== 'DELETE' && ctx.method !== 'OPTIONS' && !finished)
      ctx.set('Upload-Expires', ticket.expiresAt.toUTCString());
    if (finished) ctx.res.on('finish', () => reach('upload.answered'));
    // In this order: to Koa, no body is a status as well.
    ctx.body = null;
    ctx.status = status;
    if (status !== 204) ctx.length = 0;
  };
}
