import { isDatabaseOutage } from '../database/outage.ts';
import { type ErrorCode, HoplaError } from '../model/errors.ts';

/** An RFC 9457 problem document with its status and headers. */
export type Problem = { status: number; headers: Record<string, string>; body: Record<string, unknown> };

/** Renders an error for a client. A 5xx shows its title only: what went wrong inside is for the log. */
export function toProblem(error: HoplaError, requestId: string): Problem {
  const { code, status, title, members } = error;
  const detail = error.expose ? error.message : title;
  const challenge = status === 401 && code === 'unauthorized' ? { 'WWW-Authenticate': 'Bearer realm="hopla"' } : {};
  return {
    status,
    headers: {
      'Content-Type': 'application/problem+json',
      'Cache-Control': 'no-store',
      ...challenge,
      ...error.headers,
    },
    body: { type: `/problems/${code}`, title, status, detail, code, requestId, ...members },
  };
}

const codesByStatus: Record<number, ErrorCode> = { 413: 'body-too-large', 415: 'unsupported-media-type' };

/** Wraps whatever was thrown into a HoplaError, once, at the boundary. */
export function toHoplaError(error: unknown): HoplaError {
  if (error instanceof HoplaError) return error;
  // Errors of Koa and its middleware say themselves whether they are the client's fault.
  if (
    error instanceof Error &&
    'status' in error &&
    typeof error.status === 'number' &&
    error.status >= 400 &&
    error.status < 500
  ) {
    const code = codesByStatus[error.status] ?? 'malformed-request';
    return new HoplaError(code, 'expose' in error && error.expose ? error.message : undefined, { cause: error });
  }
  if (isDatabaseOutage(error))
    return new HoplaError('service-unavailable', undefined, { cause: error, retryAfterMs: 5_000 });
  return new HoplaError('internal-error', undefined, { cause: error });
}
