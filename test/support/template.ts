import pino from 'pino';
import { connectDatabase, migrate } from '../../src/database/connection.ts';
import { createBoss } from '../../src/transfers/queue.ts';

/** Gives a template database the tables of hopla and of its queue, as the first start of a gateway would. */
export async function prepareTemplate(databaseUrl: string): Promise<void> {
  const db = connectDatabase(databaseUrl);
  await migrate(db);
  await db.destroy();
  const boss = createBoss(databaseUrl, pino({ level: 'silent' }));
  await boss.start();
  await boss.stop({ graceful: false });
}
