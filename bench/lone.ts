import diagnostics from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { readRows } from '../test/support/announcement.ts';
import type { Service } from './service.ts';

/** Milliseconds, one for each time. */
export type LoneTimes = { commitMs: number[]; firstByteMs: number[] };

/** So many that the gateway has compiled what it runs for an image. */
const WARM_UP = 100;

/**
 * Images that come one at a time, while nothing else is to do: from the commit of each to its first byte at the store. Beside
 * them transactions that insert one row, one right after the other, half of them before and half after.
 */
export async function measureLone(
  { db, databaseUrl }: Pick<Service, 'db' | 'databaseUrl'>,
  times: number,
  uploadOne: () => Promise<void>,
): Promise<LoneTimes> {
  await db.raw('CREATE TABLE bench_commits (n integer)');
  const commitMs: number[] = [];
  const commit = async (many: number) => {
    for (let n = 0; n < many; n++) {
      const begun = performance.now();
      await db.raw('INSERT INTO bench_commits VALUES (?)', [n]);
      commitMs.push(performance.now() - begun);
    }
  };
  // A commit is what a listener of the database hears of it, and the store is in this process.
  const listener = new pg.Client({ connectionString: databaseUrl });
  await listener.connect();
  let committed = Promise.withResolvers<number>();
  let arrived = Promise.withResolvers<number>();
  let stored = Promise.withResolvers<number>();
  listener.on('notification', ({ payload = '' }) => {
    const at = performance.now();
    for (const { image } of readRows(payload)) {
      if (image?.status === 'received') committed.resolve(at);
      if (image?.status === 'stored') stored.resolve(at);
    }
  });
  const onRequest = (message: unknown) => {
    const at = performance.now();
    if ((message as { request: IncomingMessage }).request.url?.endsWith('/image/upload')) arrived.resolve(at);
  };
  diagnostics.subscribe('http.server.request.start', onRequest);
  try {
    await listener.query('LISTEN hopla_changes');
    await commit(WARM_UP);
    commitMs.length = 0;
    await commit(times);
    const firstByteMs: number[] = [];
    for (let n = -WARM_UP; n < times; n++) {
      [committed, arrived, stored] = [Promise.withResolvers(), Promise.withResolvers(), Promise.withResolvers()];
      await uploadOne();
      const [from, to] = await Promise.all([committed.promise, arrived.promise, stored.promise]);
      if (n >= 0) firstByteMs.push(to - from);
      // So that every one finds everybody idle.
      await delay(20);
    }
    await commit(times);
    return { commitMs, firstByteMs };
  } finally {
    diagnostics.unsubscribe('http.server.request.start', onRequest);
    await listener.end();
  }
}
