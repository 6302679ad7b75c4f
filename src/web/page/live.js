/** @import { LiveEvent } from './wire.d.ts' */
import { SSE } from 'sse.js';

const RECONNECT_MS = 2_000;
const WATCH_MS = 5_000;
/** The server sends at least a comment every 15 s; after twice that in silence the connection is dead. */
const SILENCE_MS = 35_000;
/** The whole text of a stream stays in memory: beyond this many characters begin a new one. */
const MAX_CHARS = 4_000_000;

/**
 * Follows one stream of events until it is closed, reconnecting by itself.
 *
 * @param {string} url
 * @param {string} token
 * @param {{
 *   onOpen: () => void,
 *   onEvent: (event: LiveEvent) => void,
 *   onLost: () => void,
 *   onRefused: () => void,
 * }} listener `onOpen` runs after each connection: what happened before is not repeated. `onRefused`: the token no longer works
 * @returns {{ close(): void }}
 */
export function follow(url, token, { onOpen, onEvent, onLost, onRefused }) {
  /** @type {InstanceType<typeof SSE> | null} */
  let source = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let reconnecting;
  let closed = false;
  let heard = { chars: 0, at: 0 };

  const connect = () => {
    const current = new SSE(url, { headers: { Authorization: `Bearer ${token}` }, start: false });
    source = current;
    heard = { chars: 0, at: Date.now() };
    let open = false;
    current.addEventListener('open', (/** @type {any} */ event) => {
      if (event.responseCode === 401 || event.responseCode === 404) {
        close();
        onRefused();
      } else if (event.responseCode === 200) {
        open = true;
        onOpen();
      }
    });
    for (const type of /** @type {const} */ (['snapshot', 'ticket', 'image', 'progress', 'end'])) {
      current.addEventListener(type, (/** @type {any} */ event) => {
        if (type === 'end') close();
        onEvent(
          /** @type {any} */ ({ type, data: JSON.parse(event.data), version: Number.parseInt(event.id, 10) || 0 }),
        );
      });
    }
    current.addEventListener('readystatechange', (/** @type {any} */ event) => {
      if (event.readyState !== SSE.CLOSED || source !== current) return;
      source = null;
      if (closed) return;
      if (open) onLost();
      reconnecting = setTimeout(connect, RECONNECT_MS * (0.75 + Math.random() / 2));
    });
    current.stream();
  };

  const again = () => {
    if (closed) return;
    clearTimeout(reconnecting);
    const old = source;
    source = null;
    old?.close();
    connect();
  };

  const watching = setInterval(() => {
    if (!source) return;
    const chars = source.progress;
    if (chars !== heard.chars) heard = { chars, at: Date.now() };
    if (chars > MAX_CHARS || Date.now() - heard.at > SILENCE_MS) again();
  }, WATCH_MS);

  const close = () => {
    closed = true;
    clearInterval(watching);
    clearTimeout(reconnecting);
    window.removeEventListener('online', again);
    source?.close();
  };

  window.addEventListener('online', again);
  connect();
  return { close };
}
