/** @import { TicketDetail } from './declarations.d.ts' */
import { followEvents } from './events.js';
import { backoffMs, pause } from './pause.js';
import { mayPass, ProblemError, readProblem, unreachable } from './problem.js';

export { ProblemError, readProblem } from './problem.js';

/** Tries of opening a ticket; the idempotency key makes them one. */
const TRIES = 5;

/**
 * One call of the API at this address.
 *
 * @param {string | URL} url
 * @param {string} method
 * @param {string} path
 * @param {{ body?: unknown, headers?: Record<string, string>, signal?: AbortSignal | undefined, bearer?: string }} [options]
 */
async function callAt(url, method, path, { body, headers = {}, signal, bearer } = {}) {
  const response = await fetch(new URL(path, url), {
    method,
    headers: {
      ...(bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    ...(signal ? { signal } : {}),
  }).catch((error) => {
    signal?.throwIfAborted();
    throw unreachable(error);
  });
  if (response.ok) return response.status === 204 ? null : response.json();
  throw readProblem(await response.text(), response.status, response.headers.get('Retry-After'));
}

/** @type {typeof import('./declarations.d.ts').login} */
export const login = ({ url, username, password, signal }) =>
  callAt(url, 'POST', '/v1/auth/login', { body: { username, password }, signal });

/** @type {typeof import('./declarations.d.ts').createClient} */
export const createClient = ({ url, token }) => {
  /** @param {string} method @param {string} path @param {Parameters<typeof callAt>[3]} [options] */
  const call = (method, path, options) => callAt(url, method, path, { bearer: token, ...options });
  /** @param {import('./declarations.d.ts').TicketAccess} ticket */
  const bearerOf = (ticket) => ticket.uploadToken ?? token;

  /** @type {import('./declarations.d.ts').Client} */
  const client = {
    async openTicket(request, { idempotencyKey = randomKey(), signal } = {}) {
      const headers = { 'Idempotency-Key': idempotencyKey };
      for (let tries = 0; ; tries++) {
        try {
          return await call('POST', '/v1/tickets', { body: request, headers, signal });
        } catch (error) {
          if (!mayPass(error) || tries === TRIES - 1) throw error;
          const wait = error instanceof ProblemError ? (error.retryAfterMs ?? 0) : 0;
          await pause(Math.max(wait, backoffMs(tries)), signal);
        }
      }
    },
    ticket: (id, { signal } = {}) => call('GET', `/v1/tickets/${encodeURIComponent(id)}`, { signal }),
    tickets(query = {}, { signal } = {}) {
      const entries = Object.entries(query).flatMap(([name, value]) =>
        value === undefined || `${value}` === '' ? [] : [[name, `${value}`]],
      );
      return call('GET', `/v1/tickets?${new URLSearchParams(entries)}`, { signal });
    },
    async upload(ticket, photos, options = {}) {
      const { signal } = options;
      const bearer = bearerOf(ticket);
      /** @type {TicketDetail} */
      const { images } = await call('GET', `/v1/tickets/${ticket.id}`, { signal, bearer });
      // Here, so that who only opens and watches tickets loads no tus-js-client.
      const { uploadPhotos } = await import('./upload.js');
      return uploadPhotos({ ...ticket, uploadToken: bearer }, photos, images, options);
    },
    async logout({ everywhere = false, signal } = {}) {
      await call('POST', '/v1/auth/logout', { signal, ...(everywhere ? { body: { everywhere } } : {}) });
    },
    follow: (ticket, { signal } = {}) => followEvents({ url: ticket.eventsUrl, token: bearerOf(ticket), signal }),
    async delivered(ticket, { onEvent, signal } = {}) {
      for await (const event of client.follow(ticket, { signal })) {
        onEvent?.(event);
        if ((event.type === 'ticket' || event.type === 'snapshot') && isStuck(event.data.counts)) break;
      }
      /** @type {TicketDetail} */
      const detail = await call('GET', `/v1/tickets/${ticket.id}`, { signal, bearer: bearerOf(ticket) });
      if (detail.status === 'completed') return detail;
      const failed = detail.images.find((image) => image.status === 'failed')?.error;
      if (failed) throw new ProblemError(failed.message, { code: failed.code, status: 0, problem: { ticket: detail } });
      throw new ProblemError('The time of the ticket ran out before all its images had come.', {
        code: 'ticket-expired',
        status: 0,
        problem: { ticket: detail },
      });
    },
  };
  return client;
};

/** Nothing is under way any more, and not all are stored: somebody has to look. @param {TicketDetail['counts']} counts */
function isStuck({ expected, stored, failed }) {
  return failed > 0 && stored + failed === expected;
}

/** Not `randomUUID`: browsers have that on https alone. */
function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
