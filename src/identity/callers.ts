import { LRUCache } from 'lru-cache';
import type { Database } from '../database/connection.ts';
import { type Caller, findCaller, isToken, touchTokens } from './tokens.ts';

/** Who holds which token, remembered for a moment, so that the many requests of one upload ask the database once. */
export type Callers = {
  /** The caller with this token; null when it is not valid. */
  find(token: string): Promise<Caller | null>;
  /** The same without asking the database: null also when it was not found lately. */
  recall(token: string): Caller | null;
  /** Ends the trust in a token that was just revoked, in this process, at once. */
  forget(tokenId: string): void;
};

/** How long a found token is believed, in milliseconds: revoking and disabling take effect within it. */
const BELIEVED_MS = 2_000;
/** 10,000 entries of about 0.5 KiB: 5 MiB at most. */
const ENTRIES = 10_000;
/** Uses are noted together, so that a thousand tokens that come at once are one statement, in milliseconds. */
const NOTED_MS = 1_000;
/** Longer than a look-up that began before the token was revoked can take, and its answer be believed. */
const FORGOTTEN_MS = 60_000;

export function createCallers(db: Database): Callers {
  // By the clock itself: otherwise it takes a timer for each millisecond in which anybody asks.
  const known = new LRUCache<string, Caller>({ max: ENTRIES, ttl: BELIEVED_MS, ttlResolution: 0 });
  const forgotten = new LRUCache<string, true>({ max: ENTRIES, ttl: FORGOTTEN_MS, ttlResolution: 0 });
  const noteUse = createUseNotes(db);
  const look = async (token: string): Promise<Caller | null> => {
    const caller = isToken(token) ? await findCaller(db, token) : null;
    if (!caller) return null;
    known.set(token, caller);
    noteUse(caller.tokenId);
    return caller;
  };
  const unlessForgotten = (caller: Caller | null | undefined) =>
    caller && !forgotten.has(caller.tokenId) ? caller : null;
  return {
    find: async (token) => unlessForgotten(known.get(token) ?? (await look(token))),
    recall: (token) => unlessForgotten(known.get(token)),
    forget: (tokenId) => void forgotten.set(tokenId, true),
  };
}

/** Remembers which tokens were used, and writes that down a little later. */
function createUseNotes(db: Database): (tokenId: string) => void {
  let used = new Set<string>();
  const write = () => {
    const ids = [...used];
    used = new Set();
    // Worth no waiting and no failure of a request: the next use notes it again.
    touchTokens(db, ids).catch(() => {});
  };
  return (tokenId) => {
    if (used.size === 0) setTimeout(write, NOTED_MS).unref();
    used.add(tokenId);
  };
}
