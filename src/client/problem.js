/** An answer that is not a success; see declarations.d.ts. */
export class ProblemError extends Error {
  /**
   * @param {string} message
   * @param {{ code: string, status: number, problem?: Record<string, unknown>, retryAfterMs?: number, cause?: unknown }} details
   */
  constructor(message, { code, status, problem = {}, retryAfterMs, cause }) {
    super(message, { cause });
    this.name = 'ProblemError';
    this.code = code;
    this.status = status;
    this.problem = problem;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Reads a problem document (RFC 9457), or what a proxy says in its place.
 *
 * @param {string} text
 * @param {number} status
 * @param {string | null | undefined} [retryAfter] the header: whole seconds; a date is not used by hopla
 */
export function readProblem(text, status, retryAfter) {
  const seconds = Number(retryAfter || Number.NaN);
  const wait = Number.isFinite(seconds) ? { retryAfterMs: seconds * 1000 } : {};
  try {
    const problem = JSON.parse(text);
    const { code = 'unknown', detail, title } = problem;
    return new ProblemError(detail ?? title ?? `The server answered ${status}.`, { code, status, problem, ...wait });
  } catch {
    // A SyntaxError: not from hopla but from something in between. HEAD has no body at all.
    return new ProblemError(`The server answered ${status}. Try again in a little while.`, {
      code: 'unknown',
      status,
      ...wait,
    });
  }
}

/** @param {unknown} cause */
export function unreachable(cause) {
  return new ProblemError('The server cannot be reached. Check the connection and try again.', {
    code: 'unreachable',
    status: 0,
    cause,
  });
}

/**
 * Whether a repeat may end otherwise.
 *
 * @param {unknown} error
 */
export function mayPass(error) {
  return error instanceof ProblemError && (error.status === 0 || error.status === 429 || error.status >= 500);
}
