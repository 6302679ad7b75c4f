import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Logger } from 'pino';

export type ListeningOptions = {
  databaseUrl: string;
  /** SQL with which each connection begins. */
  listen: string;
  /** Ends the listening. */
  signal: AbortSignal;
  log: Logger;
  onNotification: (notification: pg.Notification, client: pg.Client) => void;
  /** Runs after each connection but the first: notifications were missed before it. */
  onAgain: () => void;
};

const RECONNECT_MS = 500;
/** A connection that is cut without a word is noticed by a query that is not answered, within this time. */
const PULSE_MS = 10_000;

/**
 * Holds one connection that listens, and makes a new one whenever it is lost. `established` resolves when the first stands, or
 * rejects with why it does not.
 */
export function keepListening({ databaseUrl, listen, signal, log, onNotification, onAgain }: ListeningOptions) {
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
      client.on('notification', (notification) => onNotification(notification, client));
      const pulse = setInterval(() => client.query('SELECT 1').catch(() => lost.resolve()), PULSE_MS);
      const leave = () => lost.resolve();
      signal.addEventListener('abort', leave);
      try {
        await client.connect();
        await client.query(listen);
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
