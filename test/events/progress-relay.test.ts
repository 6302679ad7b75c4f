import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import pg from 'pg';
import pino from 'pino';
import { startHub } from '../../src/events/hub.ts';
import { createOthers } from '../../src/events/progress-relay.ts';
import type { Hub, Progress } from '../../src/events/types.ts';
import { until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

const silent = pino({ level: 'silent' });

describe('progress', () => {
  const { gateway } = useGateway();
  before(async () => {
    await gateway.stop();
  });

  const progressOf = (imageId: string, bytes: number): Progress => ({
    ...{ ticketId: randomUUID(), userId: randomUUID(), imageId },
    ...{ leg: 'upload', bytes, total: 1000 },
  });
  const start = async () => {
    const hub = await startHub(gateway.config.DATABASE_URL, gateway.db, silent);
    const heard: Progress[] = [];
    let resyncs = 0;
    hub.watch({ onImage() {}, onProgress: (progress) => heard.push(progress), onResync: () => resyncs++ });
    return { hub, heard, resyncs: () => resyncs, [Symbol.asyncDispose]: () => hub.close() };
  };
  const listenAside = async () => {
    const client = new pg.Client({ connectionString: gateway.config.DATABASE_URL });
    await client.connect();
    const payloads: string[] = [];
    client.on('notification', ({ payload = '' }) => payloads.push(payload));
    await client.query('LISTEN hopla_progress');
    return { payloads, [Symbol.asyncDispose]: () => client.end() };
  };
  /** Reports new progress, again and again, until it was heard. */
  const tell = async (hub: Hub, heard: Progress[]) => {
    const imageId = randomUUID();
    let bytes = 0;
    await until('progress', () => {
      hub.report(progressOf(imageId, ++bytes));
      return heard.some((progress) => progress.imageId === imageId);
    });
  };

  it('is told to no database by a process that is alone', async () => {
    await using aside = await listenAside();
    await using one = await start();
    await tell(one.hub, one.heard);
    await delay(300);
    expect(aside.payloads, 'only the question who else is there').to.have.length(1);
  });

  it('is told to other processes, whichever came first', async () => {
    await using one = await start();
    await using other = await start();
    await tell(one.hub, other.heard);
    await tell(other.hub, one.heard);
    const many = Array.from({ length: 100 }, () => progressOf(randomUUID(), 777));
    const found = () => new Map(other.heard.filter(({ bytes }) => bytes === 777).map((one) => [one.imageId, one]));
    await until('all of it', () => {
      // Others go without what is reported while the database is slow.
      for (const progress of many) one.hub.report(progress);
      return found().size >= many.length;
    });
    expect([...found().values()]).to.have.deep.members(many);
    expect(one.resyncs() + other.resyncs()).to.equal(0);
  });

  it('is told no longer to processes that have ended', async () => {
    await using aside = await listenAside();
    const others = createOthers(gateway.db, silent, 100);
    others.hear({ channel: 'hopla_progress', payload: `${randomUUID()}\n[]`, processId: 0 }, new pg.Client());
    const started = performance.now();
    while (performance.now() - started < 1_000) {
      await others.tell([progressOf(randomUUID(), 1)]);
      await delay(20);
    }
    await until('the last', () => aside.payloads.length > 0);
    const questions = aside.payloads.filter((payload) => !payload.includes('\n'));
    expect(questions, 'asked now and then').to.have.length.within(1, 4);
    expect(aside.payloads.length - questions.length, 'told for a while').to.be.within(1, 20);
  });

  it('is told to a process that began while nobody could be asked', async () => {
    await using one = await start();
    const cut = () =>
      gateway.db.raw(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'hopla listener' AND datname = current_database()`,
      );
    await cut();
    await using other = await start();
    await until('a new connection', () => one.resyncs());
    await tell(one.hub, other.heard);
    await tell(other.hub, one.heard);
  });
});
