import type pg from 'pg';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import { Image, Ticket } from '../database/models.ts';
import { type Announced, readAnnounced } from '../ledger/count-and-announce.ts';
import { keepListening } from './pg-listener.ts';
import { createOthers } from './progress-relay.ts';
import type { Announcement, Heading, Hub, Listener, Progress, Watcher } from './types.ts';

const PROGRESS_MS = 250;
/** What the triggers announce (migrations), see tickets/changes.ts. */
const CHANGES_CHANNEL = 'hopla_changes';

/** Starts listening; resolves once the first LISTEN stands. Reconnects by itself. */
export async function startHub(databaseUrl: string, db: Database, log: Logger): Promise<Hub> {
  const listeners = new Map<string, Set<Listener>>();
  const watchers = new Set<Watcher>();
  const others = createOthers(db, log);
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
  const deliverProgress = (progress: Progress, fromHere: boolean) => {
    for (const watcher of watchers) watcher.onProgress(progress, fromHere);
    heard(keysOf(progress), (listener) => listener.onProgress(progress));
  };

  // One after the other, so that an announcement that must be read from the database is not overtaken by the next.
  let last = Promise.resolve();
  const onNotification = (notification: pg.Notification, client: pg.Client) => {
    const { channel, payload = '' } = notification;
    last = last
      .then(async () => {
        if (channel === CHANGES_CHANNEL) await deliver(payload);
        else for (const item of others.hear(notification, client)) deliverProgress(item, false);
      })
      .catch((error) => {
        log.warn({ err: error }, 'an announcement could not be read');
        heard([...listeners.keys()], (listener) => listener.onResync());
      });
  };

  const listening = keepListening({
    databaseUrl,
    listen: `LISTEN ${CHANGES_CHANNEL}; ${others.listen}`,
    signal: closing.signal,
    log,
    onNotification,
    onAgain() {
      for (const watcher of watchers) watcher.onResync();
      heard([...listeners.keys()], (listener) => listener.onResync());
    },
  });

  const ticking = setInterval(() => {
    if (pending.size === 0) return;
    const items = [...pending.values()];
    // Not cleared: what an old map refers to is taken for long-lived, too.
    pending = new Map();
    for (const item of items) deliverProgress(item, true);
    void others.tell(items);
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
