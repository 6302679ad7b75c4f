import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { connectDatabase } from '../../src/database/connection.ts';
import { issueToken } from '../../src/identity/tokens.ts';
import { createUser } from '../../src/identity/users.ts';
import { createApi, type Json } from '../support/client.ts';
import { insist } from './client.ts';
import { type Postgres, startPostgres } from './database.ts';
import type { ImageRow, JobRow, Records, TicketRow } from './evidence.ts';
import { type Listener, type View, watchTicket } from './listener.ts';
import type { Plan } from './plan.ts';
import type { Site, Target } from './target.ts';
import { type Watcher, watchDatabase } from './watcher.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MIB = 1024 * 1024;

/** hopla with a Postgres of its own: tickets, listeners, and a database to ask. */
export async function hoplaTarget(site: Site, plan: Plan): Promise<Target> {
  const { directory, journal } = site;
  const postgres = await startPostgres(join(directory, 'postgres'));
  const ticketIds: Record<string, string> = {};
  const listeners: Listener[] = [];
  const world = new AbortController();
  let tokens: string[] = [];
  let watcher: Watcher | undefined;

  const budget = `${site.disk ? Math.floor(0.75 * site.disk.bytes) : 512 * MIB}`;
  return {
    postgres,
    program: main,
    readyText: 'hopla is ready',
    environment: {
      DATABASE_URL: postgres.url,
      CLOUDINARY_URL: site.cloudinaryUrl,
      DATA_DIR: join(directory, 'data'),
      STAGING_DIR: site.stagingDirectory,
      STAGING_BUDGET_BYTES: budget,
      // A lone user is to be able to fill the disk.
      MAX_BYTES_IN_FLIGHT: budget,
      MAX_TICKET_BYTES_IN_FLIGHT: budget,
      STAGING_FREE_BYTES: `${site.disk ? 4 * MIB : 0}`,
      MAX_IMAGE_BYTES: `${8 * MIB}`,
      MAX_CREATIONS_PER_MINUTE: '1000000',
      // A storage that is silent for longer than this has hung.
      TRANSFER_TIMEOUT_SECONDS: '3',
      LOG_LEVEL: 'info',
    },
    async begin() {
      tokens = await makeUsers(postgres, plan.users);
      watcher = await watchDatabase(postgres.url, journal);
    },
    async open(ticket) {
      const api = createApi(site.url(), tokens[ticket.user] ?? '');
      const { body } = await insist(
        () => openTicket(api, ticket.places, `${ticket.id}`),
        AbortSignal.any([world.signal, AbortSignal.timeout(120_000)]),
      );
      ticketIds[ticket.id] = body.id;
      const token = ticket.withUploadToken ? body.uploadToken : api.token;
      const headers = { Authorization: `Bearer ${token}` };
      for (let count = 0; count < ticket.listeners; count++)
        listeners.push(watchTicket(`${ticket.id}.${count}`, body.eventsUrl, body.id, headers, journal));
      return { endpoint: body.uploadUrl, headers };
    },
    async settle() {
      // Time passes for the tickets that still have a place: places nobody fills any more are given back.
      await query(postgres.url, 'UPDATE tickets SET expires_at = now() WHERE received < expected AND NOT expired');
    },
    async pending() {
      const { images, jobs } = await readRecords(postgres.url);
      const moving = images.filter(({ status }) => ['uploading', 'received', 'transferring'].includes(status)).length;
      const queued = jobs.length;
      const files = (await stagedFiles(site.stagingDirectory)).length;
      const streams = listeners.filter(({ view }) => !view.ended).length;
      return {
        'images under way': moving,
        'jobs in the queue': queued,
        'staged files': files,
        'open streams': streams,
      };
    },
    records: () => readRecords(postgres.url),
    ticketIds: () => ticketIds,
    views: (): View[] => listeners.map(({ view }) => view),
    staged: () => stagedFiles(site.stagingDirectory),
    hushClients() {
      for (const listener of listeners) listener.close();
    },
    async close() {
      world.abort();
      for (const listener of listeners) listener.close();
      await watcher?.close();
      await postgres.close();
    },
  };
}

/** The same key every time: an answer that was lost opens no second ticket. */
async function openTicket(api: ReturnType<typeof createApi>, images: number, key: string): Promise<{ body: Json }> {
  const answer = await api.call('POST', '/v1/tickets', { body: { images }, headers: { 'Idempotency-Key': key } });
  if (answer.status !== 201) throw new Error(`no ticket: ${answer.status}`);
  return answer;
}

async function makeUsers(postgres: Postgres, count: number): Promise<string[]> {
  const db = connectDatabase(postgres.url, { maxConnections: 2 });
  try {
    const tokens: string[] = [];
    for (let index = 0; index < count; index++) {
      const user = await createUser(db, { username: `user-${index}` });
      tokens.push((await issueToken(db, { userId: user.id })).token);
    }
    return tokens;
  } finally {
    await db.destroy();
  }
}

async function stagedFiles(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).filter((name) => !name.startsWith('.'));
}

async function readRecords(databaseUrl: string): Promise<Records> {
  const [tickets, images, jobs] = await query(
    databaseUrl,
    'SELECT id, status, expected, claimed, received, stored, failed FROM tickets',
    'SELECT id, ticket_id AS "ticketId", status, error_code AS error FROM images',
    `SELECT id, state FROM pgboss.job WHERE name LIKE 'transfer.%' AND state NOT IN ('completed', 'cancelled')`,
  );
  return { tickets: tickets as TicketRow[], images: images as ImageRow[], jobs: jobs as JobRow[] };
}

async function query(databaseUrl: string, ...statements: string[]): Promise<unknown[][]> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  });
  client.on('error', () => {});
  await client.connect();
  try {
    const results: unknown[][] = [];
    for (const statement of statements) results.push((await client.query(statement)).rows);
    return results;
  } finally {
    await client.end();
  }
}
