import { Writable } from 'node:stream';
import { expect } from 'chai';
import pino from 'pino';
import { errorKinds } from '../../src/model/errors.ts';
import { type Api, createApi, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway, useGateway } from '../support/gateway.ts';
import { png } from '../support/images.ts';
import { startTcpProxy } from './tcp-proxy.ts';

describe('an error inside', () => {
  let gateway: TestGateway;
  let api: Api;
  const logged: string[] = [];
  before(async () => {
    const sink = new Writable({
      write(line, _encoding, done) {
        logged.push(`${line}`);
        done();
      },
    });
    gateway = await startTestGateway({}, pino({ level: 'debug' }, sink));
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  after(() => gateway.close());

  it('is a 500 that shows nothing of it, and is in the log with the id of the request', async () => {
    await gateway.db.raw('ALTER TABLE tickets RENAME COLUMN metadata TO hidden_column');
    try {
      const { status, body } = await api.call('GET', '/v1/tickets/01890000-0000-7000-8000-000000000000/events');
      expect(status).to.equal(404);
      const broken = await api.call('POST', '/v1/tickets', {
        body: { images: 1 },
        headers: { 'X-Request-Id': 'find-me' },
      });
      expect(broken.status).to.equal(500);
      expect(broken.body).to.deep.equal({
        type: '/problems/internal-error',
        title: errorKinds['internal-error'].title,
        status: 500,
        detail: errorKinds['internal-error'].title,
        code: 'internal-error',
        requestId: 'find-me',
      });
      expect(JSON.stringify([body, broken.body])).to.not.match(/metadata|column|select|insert|node_modules/i);
      const line = logged.find((text) => text.includes('find-me') && text.includes('"level":50'));
      expect(line).to.include('column').and.include('stack');
    } finally {
      await gateway.db.raw('ALTER TABLE tickets RENAME COLUMN hidden_column TO metadata');
    }
    await api.openTicket(1);
  });

  it('never puts a token or a password into the log', async () => {
    await gateway.createUser('logged', 'correct horse');
    const login = await api.call('POST', '/v1/auth/login', {
      token: null,
      body: { username: 'logged', password: 'correct horse' },
    });
    const ticket = await api.openTicket(1);
    await api.call('GET', `/v1/tickets?access_token=${api.token}`);
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    await untilCompleted(api, ticket.id);
    const text = logged.join('');
    for (const secret of ['correct horse', api.token, ticket.uploadToken, login.body.token]) {
      expect(secret).to.be.a('string').with.length.above(10);
      expect(text).to.not.include(secret);
    }
  });
});

describe('health', () => {
  it('is fine while everything works', async () => {
    const gateway = await startTestGateway();
    try {
      const api = createApi(gateway.url, '');
      const [alive, ready] = [
        await api.call('GET', '/healthz', { token: null }),
        await api.call('GET', '/readyz', { token: null }),
      ];
      expect([alive.status, alive.body]).to.deep.equal([200, { status: 'ok' }]);
      const checks = { database: 'ok', staging: 'ok', storage: 'ok', queue: 'ok' };
      expect([ready.status, ready.body]).to.deep.equal([200, { checks }]);
      expect(ready.headers.get('Cache-Control')).to.equal('no-store');
    } finally {
      await gateway.close();
    }
  });

  it('is looked at once for all who ask at the same time', async () => {
    const gateway = await startTestGateway();
    const lock = await gateway.db.transaction();
    try {
      const api = createApi(gateway.url, '');
      await lock.raw('LOCK TABLE pgboss.queue IN ACCESS EXCLUSIVE MODE');
      const answers = Array.from({ length: 30 }, () => api.call('GET', '/readyz', { token: null }));
      const waiting = async () => {
        const { rows } = await gateway.db.raw(
          `SELECT count(*)::int AS count FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%queue%'`,
        );
        return rows[0].count;
      };
      await until('the queue is asked', async () => (await waiting()) > 0);
      const all = Promise.all(answers);
      let most = 0;
      let answered = false;
      void all.then(() => {
        answered = true;
      });
      await until('they are answered', async () => {
        most = Math.max(most, await waiting());
        return answered;
      });
      // The queue itself may look at its table as well.
      expect(most).to.be.at.most(3);
      for (const { status, body } of await all) expect([status, body.checks.queue]).to.deep.equal([503, 'failed']);
    } finally {
      await lock.rollback();
      await gateway.close();
    }
  });

  it('names the storage while that is away, and is fine when it is back', async () => {
    const gateway = await startTestGateway();
    const proxy = await startTcpProxy(
      new URL(gateway.cloudinary.cloudinaryUrl).searchParams.get('upload_prefix') ?? '',
    );
    try {
      const url = new URL(gateway.config.STORAGE_URL);
      url.searchParams.set('upload_prefix', proxy.url);
      await gateway.restart({ STORAGE_URL: url.href });
      proxy.cut();
      const api = createApi(gateway.url, '');
      const ready = () => api.call('GET', '/readyz', { token: null });
      const { status, body } = await ready();
      expect([status, body.checks]).to.deep.equal([
        503,
        { database: 'ok', staging: 'ok', storage: 'failed', queue: 'ok' },
      ]);
      expect((await api.call('GET', '/healthz', { token: null })).status).to.equal(200);
      proxy.restore();
      await until('the storage is back', async () => (await ready()).status === 200);
    } finally {
      await proxy.close();
      await gateway.close();
    }
  });
});

describe('while the database is away', () => {
  const { gateway } = useGateway();
  let proxy: Awaited<ReturnType<typeof startTcpProxy>>;
  let api: Api;
  let ticketId: string;
  before(async () => {
    proxy = await startTcpProxy(gateway.config.DATABASE_URL);
    await gateway.restart({ DATABASE_URL: proxy.url });
    const { token } = await gateway.createUser('anna', 'correct horse');
    api = createApi(gateway.url, token);
    ticketId = (await api.openTicket(1)).id;
    proxy.cut();
  });
  after(async () => {
    await proxy.close();
  });

  it('every REST route says 503, when to come back, and nothing of the reason', async () => {
    const requests: [method: string, path: string, body?: unknown][] = [
      ['GET', '/v1/tickets'],
      ['POST', '/v1/tickets', { images: 1 }],
      ['GET', `/v1/tickets/${ticketId}`],
      ['GET', `/v1/tickets/${ticketId}/events`],
      ['GET', '/v1/events'],
      ['POST', '/v1/auth/login', { username: 'anna', password: 'correct horse' }],
      ['POST', '/v1/auth/logout'],
      ['POST', '/v1/auth/password', { current: 'correct horse', next: 'correct horse battery' }],
      ['GET', `/v1/tickets/${ticketId}/tokens`],
      ['DELETE', `/v1/tickets/${ticketId}/tokens/${ticketId}`],
    ];
    // A token nobody remembers: the database is asked from the first step on.
    const token = `hop_${'E'.repeat(43)}`;
    for (const [method, path, body] of requests) {
      const { status, body: problem, headers } = await api.call(method, path, { token, ...(body ? { body } : {}) });
      expect([status, problem.code], `${method} ${path}`).to.deep.equal([503, 'service-unavailable']);
      expect(Number(headers.get('Retry-After'))).to.be.within(1, 60);
      expect(JSON.stringify(problem)).to.not.match(/connect|ECONN|127\.0\.0\.1|postgres|select|knex/i);
    }
  });

  it('says the same to a caller who is remembered', async () => {
    await gateway.stop();
    proxy.restore();
    await gateway.restart({ DATABASE_URL: proxy.url });
    expect((await api.call('GET', '/v1/tickets')).status).to.equal(200);
    proxy.cut();
    for (const path of ['/v1/tickets', `/v1/tickets/${ticketId}`]) {
      const { status, headers } = await api.call('GET', path);
      expect([status, headers.get('Retry-After')], path).to.deep.equal([503, '5']);
    }
  });

  it('stays alive, is not ready and says why; and serves again by itself', async () => {
    const ready = () => api.call('GET', '/readyz', { token: null });
    const { status, body } = await ready();
    expect([status, body.checks]).to.deep.equal([
      503,
      { database: 'failed', staging: 'ok', storage: 'ok', queue: 'failed' },
    ]);
    expect((await api.call('GET', '/healthz', { token: null })).status).to.equal(200);
    expect((await api.call('GET', '/v1/nowhere')).status, 'what needs no database').to.equal(404);
    proxy.restore();
    await until('the gateway is ready again', async () => (await ready()).status === 200);
    expect((await api.call('GET', '/v1/tickets')).status).to.equal(200);
  });
});
