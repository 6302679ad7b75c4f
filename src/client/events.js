/** @import { TicketEvent } from './declarations.d.ts' */
import { backoffMs, pause } from './pause.js';
import { ProblemError, readProblem } from './problem.js';

/** The server sends at least a comment every 15 s; after twice that in silence the connection is dead. */
const SILENCE_MS = 35_000;

/**
 * The events of one ticket until its `end`. Comes back after a lost connection and goes on behind the last event.
 *
 * @param {{ url: string, token: string, signal?: AbortSignal | undefined }} from
 * @returns {AsyncGenerator<TicketEvent, void, void>}
 */
export async function* followEvents({ url, token, signal }) {
  let version = '';
  let tries = 0;
  for (;;) {
    const connection = new AbortController();
    const leave = () => connection.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener('abort', leave, { once: true });
    let wait = 0;
    try {
      const headers = { Authorization: `Bearer ${token}`, ...(version ? { 'Last-Event-ID': version } : {}) };
      const response = await fetch(url, { headers, signal: connection.signal });
      if (!response.ok || !response.body)
        throw readProblem(await response.text(), response.status, response.headers.get('Retry-After'));
      for await (const { type, data, id } of readEvents(response.body, connection)) {
        tries = 0;
        const event = /** @type {TicketEvent} */ ({ type, data: JSON.parse(data) });
        // An `image` has the id of the `ticket` behind it: who saw only the first does not have that version yet.
        if (type !== 'image' && id) version = id;
        yield event;
        if (type === 'end') return;
      }
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof ProblemError && error.status < 500 && error.status !== 429) throw error;
      wait = (error instanceof ProblemError && error.retryAfterMs) || 0;
    } finally {
      signal?.removeEventListener('abort', leave);
      // Also where the caller leaves its loop: the connection goes with it.
      connection.abort();
    }
    await pause(Math.max(wait, backoffMs(tries)), signal);
    tries += 1;
  }
}

/**
 * The event stream format, https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, as far as hopla writes it.
 *
 * @param {ReadableStream<Uint8Array>} body
 * @param {AbortController} connection aborted when the server is silent for too long
 */
async function* readEvents(body, connection) {
  const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
  const silent = () => connection.abort(new Error('the event stream fell silent'));
  let silence = setTimeout(silent, SILENCE_MS);
  try {
    let rest = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(silent, SILENCE_MS);
      const blocks = (rest + value).split('\n\n');
      rest = blocks.pop() ?? '';
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map(readField));
        if (fields.event && fields.data !== undefined) yield { type: fields.event, data: fields.data, id: fields.id };
      }
    }
  } finally {
    clearTimeout(silence);
    reader.cancel().catch(() => {
      // An aborted connection has nothing left to cancel.
    });
  }
}

/** @param {string} line @returns {[string, string]} */
function readField(line) {
  const colon = line.indexOf(':');
  return [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
}
