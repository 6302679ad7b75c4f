/** @import { Visitor } from './wire.d.ts' */

const SESSION = 'hopla.session';
const TICKETS = 'hopla.tickets';
const OPENING = 'hopla.opening';

/** Who is here: the link that the page was opened with comes before a session. @returns {Visitor | null} */
export function findVisitor() {
  // In the fragment, because browsers send it to no server.
  const fragment = new URLSearchParams(location.hash.slice(1));
  const ticketId = fragment.get('ticket');
  const token = fragment.get('token');
  if (ticketId && token) return { kind: 'guest', ticketId, token };
  const session = read(sessionStorage, SESSION) ?? read(localStorage, SESSION);
  if (!session || Date.parse(session.expiresAt) <= Date.now()) return null;
  return {
    kind: 'user',
    token: session.token,
    username: session.username,
    remembered: localStorage.getItem(SESSION) !== null,
  };
}

/**
 * Keeps a session until the tab is closed, or, when asked, until it runs out.
 *
 * @param {{ token: string, expiresAt: string, user: { username: string } }} login
 * @param {boolean} remember
 * @returns {Visitor}
 */
export function keepSession(login, remember) {
  const { token, expiresAt, user } = login;
  write(remember ? localStorage : sessionStorage, SESSION, { token, expiresAt, username: user.username });
  return { kind: 'user', token, username: user.username, remembered: remember };
}

export function forgetSession() {
  for (const storage of [sessionStorage, localStorage])
    for (const key of [SESSION, TICKETS, OPENING]) storage.removeItem(key);
}

/** Upload tokens are shown once, when a ticket is opened: kept as long as the session, so that a reload can still share and upload. */
export function uploadTokens() {
  const storage = () => (localStorage.getItem(SESSION) ? localStorage : sessionStorage);
  return {
    /** @param {string} ticketId @returns {string | undefined} */
    find: (ticketId) => read(storage(), TICKETS)?.[ticketId],
    /** @param {string} ticketId @param {string} token */
    keep(ticketId, token) {
      const known = Object.entries(read(storage(), TICKETS) ?? {}).filter(([id]) => id !== ticketId);
      write(storage(), TICKETS, Object.fromEntries([...known.slice(-MAX_TOKENS + 1), [ticketId, token]]));
    },
  };
}

const MAX_TOKENS = 50;

/**
 * The idempotency key for opening the ticket of these files. It stays the same until `forgetOpening`, so that pressing
 * upload again after a lost answer, or a reload, opens no second ticket.
 *
 * @param {string[]} fileIds
 * @returns {string}
 */
export function openingKey(fileIds) {
  const files = fileIds.join('\n');
  const opening = read(sessionStorage, OPENING);
  if (opening?.files === files) return opening.key;
  const key = randomText();
  write(sessionStorage, OPENING, { files, key });
  return key;
}

/** The same files may be sent again, in a new ticket. */
export function forgetOpening() {
  sessionStorage.removeItem(OPENING);
}

/**
 * True for one tab at a time: the one that keeps chosen photos over a reload. Two that restored the same photos would
 * take every upload out of each other's hands.
 *
 * @param {string} name
 * @returns {Promise<boolean>}
 */
export function becomeKeeper(name) {
  // Missing where a page comes over plain HTTP.
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const held = () => {
      resolve(true);
      return new Promise(() => {});
    };
    // A page that is being reloaded lets go a moment after the next one has begun.
    navigator.locks.request(name, { signal: AbortSignal.timeout(KEEPER_MS) }, held).catch(() => resolve(false));
  });
}

const KEEPER_MS = 1_000;

/** 16 random characters. `crypto.randomUUID` is missing where a page comes over plain HTTP. */
export function randomText() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_');
}

/** @param {Storage} storage @param {string} key @returns {any} */
function read(storage, key) {
  try {
    return JSON.parse(storage.getItem(key) ?? 'null');
  } catch {
    // A SyntaxError: somebody else wrote there.
    return null;
  }
}

/** @param {Storage} storage @param {string} key @param {unknown} value */
function write(storage, key, value) {
  storage.setItem(key, JSON.stringify(value));
}
