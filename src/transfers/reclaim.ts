import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';
import { queueOf } from './queue.ts';

/** Says, for as long as it is held, that this process works on a queue. */
export type Presence = { close(): Promise<void> };

const RECONNECT_MS = 1_000;

/**
 * Enters a queue as one of its workers. If there is no other, the jobs still marked as active belong to a process that
 * died: they go back to the queue at once, instead of after the time pg-boss waits for a sign of life.
 *
 * Every worker process holds the queue's advisory lock in shared mode on a connection of its own; who can have it
 * exclusively is alone.
 */
export async function enterQueue(databaseUrl: string, stagingId: string, log: Logger): Promise<Presence> {
  const queue = queueOf(stagingId);
  const closing = new AbortController();
  let client = await connect(databaseUrl);
  const { rows } = await client.query<{ alone: boolean }>(
    'SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS alone',
    [queue],
  );
  if (rows[0]?.alone) {
    const { rowCount } = await client.query(
      `UPDATE pgboss.job SET state = 'retry', start_after = now(), heartbeat_on = NULL WHERE name = $1 AND state = 'active'`,
      [queue],
    );
    if (rowCount) log.info({ jobs: rowCount }, 'resuming transfers that a process left behind');
  }
  await hold(client, queue);
  if (rows[0]?.alone) await client.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [queue]);

  // A lock goes with its connection: whoever starts while ours is lost may take our jobs, which the fencing of attempts
  // makes harmless. Still, come back soon.
  const keep = async () => {
    while (!closing.signal.aborted) {
      await ended(client, closing.signal);
      await client.end().catch(() => {});
      client = (await comeBack(databaseUrl, queue, closing.signal, log)) ?? client;
    }
  };
  const kept = keep();
  return {
    async close() {
      closing.abort();
      await Promise.race([kept, delay(1_000, undefined, { ref: false })]);
    },
  };
}

/** Tries to hold the lock again until it does; null when `signal` says to leave. */
async function comeBack(
  databaseUrl: string,
  queue: string,
  signal: AbortSignal,
  log: Logger,
): Promise<pg.Client | null> {
  while (!signal.aborted) {
    let client: pg.Client | undefined;
    try {
      await delay(RECONNECT_MS, undefined, { signal });
      client = await connect(databaseUrl);
      await hold(client, queue);
      return client;
    } catch (error) {
      log.debug({ err: error }, 'the presence in the queue is not held');
      await client?.end().catch(() => {});
    }
  }
  return null;
}

async function connect(databaseUrl: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    application_name: 'hopla presence',
    keepAlive: true,
    connectionTimeoutMillis: 5_000,
    query_timeout: 10_000,
  });
  // Without a listener a lost connection would end the process; `ended` sees it.
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function hold(client: pg.Client, queue: string): Promise<void> {
  await client.query('SELECT pg_advisory_lock_shared(hashtextextended($1, 0))', [queue]);
}

function ended(client: pg.Client, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    client.once('end', () => resolve());
    client.once('error', () => resolve());
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
}
