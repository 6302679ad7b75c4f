import cors from '@koa/cors';
import type { Middleware } from 'koa';
import { TOKEN } from './request.ts';

const RESPONSE_HEADERS = [
  'ETag',
  'Link',
  'Location',
  'Retry-After',
  'Tus-Resumable',
  'Tus-Version',
  'Tus-Extension',
  'Tus-Max-Size',
  'Tus-Checksum-Algorithm',
  'Upload-Offset',
  'Upload-Length',
  'Upload-Defer-Length',
  'Upload-Metadata',
  'Upload-Expires',
  'X-Request-Id',
];
/** Far more than any page asks for. */
const MOST_REQUEST_HEADERS = 100;

/**
 * CORS for the whole app, once: `allowed` origins (`*` is all) may read every answer and send any request header, since
 * tracing and monitoring scripts add theirs to every request. `isClosed` paths are for their own origin alone.
 */
export function shareWithOrigins(allowed: readonly string[], isClosed: (path: string | null) => boolean): Middleware[] {
  const originFor = (path: string | null, origin: string): string => {
    if (isClosed(path)) return '';
    if (allowed.includes('*')) return '*';
    return allowed.includes(origin) ? origin : '';
  };
  const checkAskedFor: Middleware = (ctx, next) => {
    const { headers } = ctx.req;
    const asked = headers['access-control-request-headers'];
    // @koa/cors echoes what stands here.
    if (asked !== undefined) headers['access-control-request-headers'] = fieldNames(String(asked));
    return next();
  };
  const share = cors({
    origin: (ctx) => originFor(ctx.path, ctx.get('Origin')),
    allowMethods: ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'],
    exposeHeaders: RESPONSE_HEADERS,
    maxAge: 86_400,
  });
  /** @koa/cors leaves out an OPTIONS that is no preflight; a tus client asks one for the extensions. */
  const exposeOptions: Middleware = (ctx, next) => {
    const origin = ctx.method === 'OPTIONS' ? originFor(ctx.path, ctx.get('Origin')) : '';
    if (origin !== '') {
      ctx.set('Access-Control-Allow-Origin', origin);
      ctx.set('Access-Control-Expose-Headers', RESPONSE_HEADERS.join(','));
    }
    return next();
  };
  return [checkAskedFor, share, exposeOptions];
}

/** The valid field names of a list (RFC 9110 section 5.1), of which there may be only so many. */
function fieldNames(list: string): string {
  const names = list.split(',').map((name) => name.trim());
  return names
    .filter((name) => TOKEN.test(name))
    .slice(0, MOST_REQUEST_HEADERS)
    .join(',');
}
