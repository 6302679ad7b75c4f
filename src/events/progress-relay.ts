import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Progress } from './types.ts';

/**
 * The other processes at this database, which are told of progress here: the database itself says only what is committed.
 * Who begins to listen asks who else does, and those answer. So a process that is alone knows, and tells nobody.
 */
export type Others = {
  /** SQL with which each connection that listens begins. */
  readonly listen: string;
  /** Progress that a notification brings from another process, if it does. */
  hear(notification: pg.Notification, client: pg.Client): Progress[];
  /** Progress is a courtesy: while the database is away or slow, others go without. */
  tell(items: Progress[]): Promise<void>;
};

const PROGRESS_CHANNEL = 'hopla_progress';

/** A payload of NOTIFY has less than 8000 bytes, one progress less than 250. */
const PROGRESS_PER_PAYLOAD = 30;
/** Who tells asks again after so many milliseconds whether anybody hears it, and is alone after three times without an answer. */
const ASK_MS = 60_000;

export function createOthers(db: Database, log: Logger, askMs = ASK_MS): Others {
  /** Begins each payload; alone it is a question. */
  const own = randomUUID();
  const notify = (payload: string) => `NOTIFY ${PROGRESS_CHANNEL}, '${payload}'`;
  let heardAt = Number.NEGATIVE_INFINITY;
  let askedAt = Number.NEGATIVE_INFINITY;
  let telling = false;
  let answering: Promise<unknown> = Promise.resolve();

  return {
    listen: `LISTEN ${PROGRESS_CHANNEL}; ${notify(own)}`,
    hear({ channel, payload = '' }, client) {
      if (channel !== PROGRESS_CHANNEL || payload.startsWith(own)) return [];
      heardAt = performance.now();
      const end = payload.indexOf('\n');
      if (end >= 0) return JSON.parse(payload.slice(end + 1)) as Progress[];
      // Where this fails the connection is lost, and the next one begins with a question.
      answering = answering.then(() => client.query(notify(`${own}\n[]`))).catch(() => {});
      return [];
    },
    async tell(items) {
      const now = performance.now();
      if (telling || now - heardAt > 3 * askMs) return;
      telling = true;
      try {
        const payloads: string[] = [];
        for (let start = 0; start < items.length; start += PROGRESS_PER_PAYLOAD)
          payloads.push(`${own}\n${JSON.stringify(items.slice(start, start + PROGRESS_PER_PAYLOAD))}`);
        if (now - askedAt > askMs) {
          payloads.push(own);
          askedAt = now;
        }
        await db.raw('SELECT pg_notify(?, payload) FROM unnest(?::text[]) AS payload', [PROGRESS_CHANNEL, payloads]);
      } catch (error) {
        log.debug({ err: error }, 'progress not announced');
      } finally {
        telling = false;
      }
    },
  };
}
