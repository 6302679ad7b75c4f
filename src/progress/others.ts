import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Progress } from './hub.ts';

/**
 * The other processes at this database, which are told of progress here: the database itself says only what is committed.
 * Who begins to listen asks who else does, and those answer; a process that is alone tells nobody.
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

export function createOthers(db: Database, log: Logger): Others {
  /** Begins each payload; alone it is a question. */
  const own = randomUUID();
  const notify = (payload: string) => `NOTIFY ${PROGRESS_CHANNEL}, '${payload}'`;
  /** Whether there are others, or were: of one that has ended nobody hears. */
  let any = false;
  let telling = false;

  return {
    listen: `LISTEN ${PROGRESS_CHANNEL}; ${notify(own)}`,
    hear({ channel, payload = '' }, client) {
      if (channel !== PROGRESS_CHANNEL || payload.startsWith(own)) return [];
      any = true;
      const end = payload.indexOf('\n');
      if (end >= 0) return JSON.parse(payload.slice(end + 1)) as Progress[];
      // Where this fails the connection is lost, and the next one begins with a question.
      client.query(notify(`${own}\n[]`)).catch(() => {});
      return [];
    },
    async tell(items) {
      if (!any || telling) return;
      telling = true;
      try {
        const payloads: string[] = [];
        for (let start = 0; start < items.length; start += PROGRESS_PER_PAYLOAD)
          payloads.push(`${own}\n${JSON.stringify(items.slice(start, start + PROGRESS_PER_PAYLOAD))}`);
        await db.raw('SELECT pg_notify(?, payload) FROM unnest(?::text[]) AS payload', [PROGRESS_CHANNEL, payloads]);
      } catch (error) {
        log.debug({ err: error }, 'progress not announced');
      } finally {
        telling = false;
      }
    },
  };
}
