import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pg from 'pg';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import { issueToken } from '../../src/identity/tokens.ts';
import { createUser } from '../../src/identity/users.ts';
import { type Postgres, startPostgres } from '../chaos/database.ts';
import { type Api, createApi, type Json, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { answerTo, createEndpoint, OFFSET_STREAM, openRequest } from './raw.ts';

/** Everything goes on so soon after the database is back. */
const BACK_MS = 15_000;
const MIB = 1024 * 1024;

describe('an upload during trouble with Postgres', () => {
  const photo = jpeg({ bytes: 4 * MIB, seed: 77 });
  let directory: string;
  let postgres: Postgres;
  let db: Database;
  let gateway: TestGateway;
  let api: Api;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-trouble-'));
    postgres = await startPostgres(directory);
    gateway = await startTestGateway();
    await gateway.restart({ DATABASE_URL: postgres.url });
    db = connectDatabase(postgres.url, { maxConnections: 1 });
    const { id } = await createUser(db, { username: 'phone' });
    api = createApi(gateway.url, (await issueToken(db, { userId: id })).token);
  });
  after(async () => {
    await gateway.close();
    await db.destroy();
    await postgres.close();
    await rm(directory, { recursive: true });
  });

  const stagedBytes = (url: string) =>
    stat(join(gateway.config.STAGING_DIR, url.split('/').at(-1) ?? '')).then(
      ({ size }) => size,
      () => 0,
    );

  /** Takes every connection there is, those that the gateway had among them. */
  const exhaust = async () => {
    const nemesis = new pg.Client({ connectionString: postgres.url, application_name: 'nemesis' });
    await nemesis.connect();
    const ends = [() => nemesis.end()];
    await until('nobody else has a connection', async () => {
      ends.push(await postgres.exhaust());
      const { rowCount } = await nemesis.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND application_name <> 'nemesis'`,
      );
      return rowCount === 0;
    });
    return async () => {
      for (const end of ends) await end();
    };
  };
  const kill = async () => {
    await postgres.kill('SIGKILL');
    return () => postgres.start();
  };

  const troubles: [what: string, begin: () => Promise<() => Promise<void> | void>, answers: boolean][] = [
    ['is killed and started again', kill, true],
    ['has no connection left', exhaust, true],
    // What it is asked meanwhile is answered once it goes on; how long anybody waits at most is in commit-waiting.test.ts.
    ['stands still for a while', () => postgres.freeze(), false],
  ];
  for (const [what, begin, answers] of troubles) {
    it(`goes on receiving while it ${what}, waits with its end, and ends soon after`, async () => {
      const ticket = await api.openTicket(2);
      const endpoint = createEndpoint(ticket);
      const [url, other] = [await endpoint.begin({ size: photo.length }), await endpoint.begin({ size: 10 })];
      const patch = openRequest('PATCH', url, {
        token: endpoint.token,
        headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0', 'Content-Length': `${photo.length}` },
      });
      const patched = answerTo(patch);
      patch.write(photo.subarray(0, MIB));
      await until('the first bytes are staged', async () => (await stagedBytes(url)) === MIB);

      const end = await begin();
      patch.write(photo.subarray(MIB, 3 * MIB));
      await until('bytes are received all the same', async () => (await stagedBytes(url)) === 3 * MIB);
      const looked = endpoint.head(other);
      if (answers) expect((await looked).status, 'HEAD meanwhile').to.equal(423);
      patch.end(photo.subarray(3 * MIB));
      if (answers) expect((await patched).status, 'the end of the PATCH').to.equal(423);
      await end();

      const back = performance.now();
      expect((await looked).status).to.be.oneOf(answers ? [423] : [200, 423]);
      expect((await patched).status).to.be.oneOf(answers ? [423] : [204, 423]);
      const heads = new Set<number>();
      await until('HEAD tells the whole length', async () => {
        const { status, headers } = await endpoint.head(url);
        heads.add(status);
        return status === 200 && headers['upload-offset'] === `${photo.length}`;
      });
      expect([...heads].filter((status) => status !== 200 && status !== 423)).to.deep.equal([]);
      const next = await until('a ticket can be opened', () => api.openTicket(1).catch(() => null));
      await createEndpoint(next).begin({ size: photo.length, body: photo });
      await untilCompleted(api, next.id);
      const image = await until('it is stored', async () => {
        const { images } = await api.ticket(ticket.id);
        return images.find(({ id, status }: Json) => url.endsWith(id) && status === 'stored');
      });
      expect(image).to.include({ attempts: 0 });
      expect(performance.now() - back).to.be.below(BACK_MS);
      expect(Buffer.from(await (await fetch(image.url)).arrayBuffer()).equals(photo)).to.equal(true);
    });
  }
});
