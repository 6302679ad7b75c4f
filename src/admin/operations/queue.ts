import { PgBoss } from 'pg-boss';
import type { Logger } from 'pino';

/**
 * The gateway's queue, to send jobs and nothing else: neither does it look after the queue, nor make or change its
 * tables. Rejects when those are not there.
 */
export async function openQueue(databaseUrl: string, log: Logger): Promise<PgBoss> {
  const boss = new PgBoss({
    connectionString: databaseUrl,
    application_name: 'hopla admin queue',
    max: 2,
    supervise: false,
    schedule: false,
    migrate: false,
  });
  boss.on('error', (error) => log.warn({ err: error }, 'queue error'));
  return boss.start();
}
