import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { readRows } from '../support/announcement.ts';
import type { Journal } from './journal.ts';

/** Listens to the database itself and journals every move of every image. */
export type Watcher = { close(): Promise<void> };

type Known = { status: string; ticket: string };
type Announced = {
  ticket?: { id: string; version: number };
  image?: { id: string; status: string; holder?: string | null } | null;
};

/**
 * Announcements are lost while the database is away. On every new connection the tables are read, and what changed
 * meanwhile is journalled as `skipped`: then some way must lead from the one state to the other, and not a single step.
 */
export async function watchDatabase(databaseUrl: string, journal: Journal): Promise<Watcher> {
  const closing = new AbortController();
  const images = new Map<string, Known>();
  /** Version up to which each ticket's changes are known. */
  const versions = new Map<string, number>();

  const move = (image: string, ticket: string, to: string, skipped: boolean, holder: string | null = null) => {
    const from = images.get(image)?.status ?? null;
    images.set(image, { status: to, ticket });
    if (!skipped || from !== to) journal.write({ kind: 'moved', image, ticket, from, to, skipped, holder });
  };

  const hear = ({ ticket, image }: Announced) => {
    if (!ticket) return;
    const known = versions.get(ticket.id) ?? 0;
    // What the tables said already when we connected.
    if (ticket.version <= known) return;
    versions.set(ticket.id, ticket.version);
    const skipped = known > 0 && ticket.version > known + 1;
    if (image) move(image.id, ticket.id, image.status, skipped, image.holder);
  };

  const readTables = async (client: pg.Client) => {
    const { rows } = await client.query<{
      id: string;
      version: number;
      images: { id: string; status: string }[] | null;
    }>(
      `SELECT tickets.id, version, (SELECT json_agg(json_build_object('id', id, 'status', status)) FROM images
        WHERE ticket_id = tickets.id) AS images FROM tickets`,
    );
    for (const row of rows) {
      versions.set(row.id, row.version);
      for (const { id, status } of row.images ?? []) move(id, row.id, status, true);
    }
  };

  const listen = async (onListening: () => void) => {
    const client = new pg.Client({ connectionString: databaseUrl, application_name: 'chaos', keepAlive: true });
    const lost = Promise.withResolvers<void>();
    client.on('error', () => lost.resolve());
    client.on('end', () => lost.resolve());
    const early: Announced[] = [];
    let listening = false;
    client.on('notification', ({ payload = '' }) => {
      const announced = readRows(payload) as Announced[];
      if (listening) announced.forEach(hear);
      else early.push(...announced);
    });
    closing.signal.addEventListener('abort', () => lost.resolve(), { once: true });
    try {
      await client.connect();
      await client.query('LISTEN hopla_changes');
      await readTables(client);
      early.forEach(hear);
      listening = true;
      onListening();
      await lost.promise;
    } finally {
      await client.end().catch(() => {});
    }
  };

  const first = Promise.withResolvers<void>();
  const keep = async () => {
    while (!closing.signal.aborted) {
      await listen(first.resolve).catch(() => {});
      await delay(100);
    }
  };
  const kept = keep();
  await first.promise;
  return {
    async close() {
      closing.abort();
      await kept;
    },
  };
}
