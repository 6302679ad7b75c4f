/** An answer of the API that is not a success. `code` is one of the stable codes, or `offline` when there was no answer. */
export class ApiError extends Error {
  /** @param {string} message @param {{ code: string, status: number }} what */
  constructor(message, { code, status }) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.status = status;
  }
}

/**
 * Calls the API of this gateway. Throws an `ApiError` whose message is for people.
 *
 * @param {string} method
 * @param {string} path
 * @param {{ token?: string, body?: unknown, headers?: Record<string, string>, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the parsed body, or null when there is none
 */
export async function callApi(method, path, { token, body, headers = {}, signal } = {}) {
  const response = await fetch(path, {
    method,
    headers: {
      ...(token ? { Authorization: `Bearer ${token}` } : {}),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  }).catch((error) => {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('The server cannot be reached. Check the connection and try again.', {
      code: 'offline',
      status: 0,
    });
  });
  const text = await response.text();
  if (response.ok) return text === '' ? null : JSON.parse(text);
  throw readProblem(text, response.status);
}

/**
 * Reads a problem document (RFC 9457), or what a proxy says in its place.
 *
 * @param {string} text
 * @param {number} status
 */
export function readProblem(text, status) {
  try {
    const { code = 'unknown', detail, title } = JSON.parse(text);
    return new ApiError(detail ?? title ?? `The server answered ${status}.`, { code, status });
  } catch {
    // A SyntaxError: not ours, an HTML page of something in between.
    return new ApiError(`The server answered ${status}. Try again in a little while.`, { code: 'unknown', status });
  }
}
