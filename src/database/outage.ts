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

/** True where user, password or name of the database are not right: SQLSTATE classes 28 and 3D. */
export function isDatabaseRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && /^(28|3D)/.test(`${error.code}`);
}
