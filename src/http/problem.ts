import { type ErrorCode, HoplaError } from '../errors.ts';

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

/** errno and SQLSTATE classes that mean "the database cannot answer now" rather than "the statement is wrong". */
const OUTAGE_SQLSTATES = /^(08|53|57|58)/;
const OUTAGE_ERRNOS = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ETIMEDOUT',
  'EPIPE',
  'ENOENT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
]);
const OUTAGE_MESSAGES =
  /^timeout expired$|Query read timeout|Connection (terminated|ended)|connection error|timeout exceeded when trying to connect|Timeout acquiring a connection|connection timeout/i;

/** True when a query failed because the database is away, starting, stopping or out of connections. */
export function isDatabaseOutage(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isDatabaseOutage);
  if (!(error instanceof Error)) return false;
  // Objection wraps what the driver threw, and keeps the SQLSTATE to itself.
  if ('nativeError' in error) return isDatabaseOutage(error.nativeError);
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  return OUTAGE_SQLSTATES.test(code) || OUTAGE_ERRNOS.has(code) || OUTAGE_MESSAGES.test(error.message);
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
