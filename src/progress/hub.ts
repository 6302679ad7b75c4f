import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { type Announced, readAnnounced } from '../tickets/changes.ts';

/** One committed change of a ticket: the ticket after it, and the image that it was about, if any. */
export type Announcement = { ticket: Ticket; image: Image | null };

/** How many bytes of an image have made one leg of its way: from the client to here, or from here to the storage. */
export type Progress = {
  ticketId: string;
  userId: string;
  imageId: string;
  leg: 'upload' | 'transfer';
  bytes: number;
  total: number | null;
};
export type ReportProgress = (progress: Progress) => void;

/** Who listens. `onResync` says that announcements may have been missed: read the truth again. */
export type Listener = { onChange(change: Announcement): void; onProgress(progress: Progress): void; onResync(): void };
export type Topic = { ticketId: string } | { userId: string };

/** Which image changed, and to what; known without reading the change itself. */
export type Heading = Pick<Image, 'ticketId' | 'staging' | 'status' | 'size'> & { imageId: string; userId: string };
/** Who needs to know of every image, and little of each. */
export type Watcher = Pick<Listener, 'onProgress' | 'onResync'> & { onImage(heading: Heading): void };

/** Brings committed changes from any process to the listeners of this one. */
export type Hub = {
  subscribe(topic: Topic, listener: Listener): () => void;
  /** Calls the watcher for every image, of whichever ticket. */
  watch(watcher: Watcher): () => void;
  /** Notes progress; at most four a second per image reach the listeners, the last one always. */
  report: ReportProgress;
  close(): Promise<void>;
};

const PROGRESS_MS = 250;
const RECONNECT_MS = 500;
/** A payload of NOTIFY has less than 8000 bytes, one progress less than 250. */
const PROGRESS_PER_PAYLOAD = 30;
/** A connection that is cut without a word is noticed by a query that is not answered, within this time. */
const PULSE_MS = 10_000;

/** Starts listening; resolves once the first LISTEN stands. Reconnects by itself. */
export async function startHub(databaseUrl: string, db: Database, log: Logger): Promise<Hub> {
  const listeners = new Map<string, Set<Listener>>();
  const watchers = new Set<Watcher>();
  const origin = randomUUID();
  const closing = new AbortController();
  let pending = new Map<string, Progress>();

  const heard = (keys: string[], tell: (listener: Listener) => void) => {
    for (const key of keys) for (const listener of listeners.get(key) ?? []) tell(listener);
  };
  const keysOf = ({ ticketId, userId }: { ticketId: string; userId: string }) => [
    `ticket:${ticketId}`,
    `user:${userId}`,
  ];
  const notice = (heading: Heading) => {
    const progress = pending.get(heading.imageId);
    // What waits to be told of a leg that is over would come after its end.
    if (progress && heading.status !== (progress.leg === 'upload' ? 'uploading' : 'transferring'))
      pending.delete(heading.imageId);
    for (const watcher of watchers) watcher.onImage(heading);
  };
  const deliver = async (payload: string) => {
    const { ticketId, userId, headings, read } = readAnnounced(payload);
    for (const [imageId, staging, status, size] of headings)
      notice({ ticketId, userId, imageId, staging, status, size });
    const keys = keysOf({ ticketId, userId });
    if (!keys.some((key) => listeners.has(key))) return;
    for (const change of await readAnnouncement(db, read())) heard(keys, (listener) => listener.onChange(change));
  };
  const deliverProgress = (progress: Progress) => {
    for (const watcher of watchers) watcher.onProgress(progress);
    heard(keysOf(progress), (listener) => listener.onProgress(progress));
  };

  // One after the other, so that an announcement that must be read from the database is not overtaken by the next.
  let last = Promise.resolve();
  const onNotification = ({ channel, payload = '' }: pg.Notification) => {
    last = last
      .then(async () => {
        if (channel === 'hopla_changes') await deliver(payload);
        else if (!payload.startsWith(origin)) for (const item of readProgress(payload)) deliverProgress(item);
      })
      .catch((error) => {
        log.warn({ err: error }, 'an announcement could not be read');
        heard([...listeners.keys()], (listener) => listener.onResync());
      });
  };

  const listening = keepListening(databaseUrl, closing.signal, log, onNotification, () => {
    for (const watcher of watchers) watcher.onResync();
    heard([...listeners.keys()], (listener) => listener.onResync());
  });

  let telling = false;
  /** Progress is a courtesy: while the database is away or slow, other processes go without. */
  const tellOthers = async (items: Progress[]) => {
    if (telling) return;
    telling = true;
    try {
      const payloads: string[] = [];
      for (let start = 0; start < items.length; start += PROGRESS_PER_PAYLOAD)
        payloads.push(`${origin}\n${JSON.stringify(items.slice(start, start + PROGRESS_PER_PAYLOAD))}`);
      await db.raw('SELECT pg_notify(?, payload) FROM json_array_elements_text(?) AS payload', [
        'hopla_progress',
        JSON.stringify(payloads),
      ]);
    } catch (error) {
      log.debug({ err: error }, 'progress not announced');
    } finally {
      telling = false;
    }
  };
  const ticking = setInterval(() => {
    if (pending.size === 0) return;
    const items = [...pending.values()];
    // Not cleared: what an old map refers to is taken for long-lived, too.
    pending = new Map();
    for (const item of items) deliverProgress(item);
    void tellOthers(items);
  }, PROGRESS_MS);
  const close = async () => {
    clearInterval(ticking);
    closing.abort();
    await listening.ended;
  };
  await listening.established.catch(async (error) => {
    await close();
    throw error;
  });

  return {
    subscribe(topic, listener) {
      const key = 'ticketId' in topic ? `ticket:${topic.ticketId}` : `user:${topic.userId}`;
      const group = listeners.get(key) ?? new Set();
      listeners.set(key, group.add(listener));
      return () => {
        group.delete(listener);
        if (group.size === 0 && listeners.get(key) === group) listeners.delete(key);
      };
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    report: (progress) => void pending.set(progress.imageId, progress),
    close,
  };
}

/** Holds one connection that listens, and makes a new one whenever it is lost; `onLost` runs after each new one. */
function keepListening(
  databaseUrl: string,
  signal: AbortSignal,
  log: Logger,
  onNotification: (notification: pg.Notification) => void,
  onAgain: () => void,
) {
  const established = Promise.withResolvers<void>();
  const run = async () => {
    for (let first = true; !signal.aborted; ) {
      const client = new pg.Client({
        connectionString: databaseUrl,
        application_name: 'hopla listener',
        keepAlive: true,
        connectionTimeoutMillis: 5_000,
        query_timeout: 5_000,
      });
      const lost = Promise.withResolvers<void>();
      client.on('error', () => lost.resolve());
      client.on('end', () => lost.resolve());
      client.on('notification', onNotification);
      const pulse = setInterval(() => client.query('SELECT 1').catch(() => lost.resolve()), PULSE_MS);
      const leave = () => lost.resolve();
      signal.addEventListener('abort', leave);
      try {
        await client.connect();
        await client.query('LISTEN hopla_changes; LISTEN hopla_progress');
        if (!first) onAgain();
        first = false;
        established.resolve();
        await lost.promise;
      } catch (error) {
        log.warn({ err: error }, 'cannot listen for changes');
        if (first) established.reject(error);
      } finally {
        clearInterval(pulse);
        signal.removeEventListener('abort', leave);
        // A frozen server does not answer the goodbye; its socket goes all the same.
        await Promise.race([client.end().catch(() => {}), delay(1_000, undefined, { ref: false })]);
      }
      if (!signal.aborted) await delay(RECONNECT_MS, undefined, { signal }).catch(() => {});
    }
  };
  return { established: established.promise, ended: run() };
}

/** Behind a line that names the process it comes from, so that this one need not read its own. */
function readProgress(payload: string): Progress[] {
  return JSON.parse(payload.slice(payload.indexOf('\n') + 1));
}

/** A payload is without the ticket's metadata where that makes it too long. */
async function readAnnouncement(db: Database, rows: ReturnType<Announced['read']>): Promise<Announcement[]> {
  const changes = rows.map(({ ticket, image }) => ({
    ticket: Ticket.fromJsonRow(ticket),
    image: image && Image.fromJsonRow(image),
  }));
  const [first] = changes;
  if (!first || first.ticket.metadata !== undefined) return changes;
  // All else stays as it was announced: a ticket read now may be ahead of announcements that are still to come.
  const kept = await Ticket.query(db).findById(first.ticket.id).select('metadata');
  if (!kept) return [];
  for (const { ticket } of changes) ticket.metadata = kept.metadata;
  return changes;
}
