import { expect } from 'chai';
import type { Middleware } from 'koa';
import pino from 'pino';
import { connectDatabase } from '../../src/database/connection.ts';
import { createApp, type State } from '../../src/http/app.ts';
import { createRouter } from '../../src/http/router.ts';
import { listen } from '../../src/http/server.ts';
import { type CallerState, callerOf, userCallerOf } from '../../src/identity/bearer.ts';
import { createCallers } from '../../src/identity/callers.ts';
import type { Caller } from '../../src/identity/tokens.ts';
import { sendRequest } from '../http/raw.ts';
import { type Api, createApi, type Json } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

describe('the Authorization header', () => {
  const { gateway } = useGateway();
  let token: string;
  let api: Api;
  before(async () => {
    token = (await gateway.createUser()).token;
    api = createApi(gateway.url, token);
  });

  const get = (...lines: string[]) => sendRequest(gateway.url, ['GET /v1/tickets HTTP/1.1', 'Host: x', ...lines]);

  it('may say Bearer in any case', async () => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR'])
      expect((await get(`Authorization: ${scheme} ${token}`)).status, scheme).to.equal(200);
  });

  it('gets 401 with a challenge for anything else', async () => {
    const wrong = [
      '',
      token,
      'Bearer',
      'Bearer ',
      `Bearer  ${token}`,
      `Bearer ${token} ${token}`,
      `Bearer ${token},`,
      `Bearer ${token.slice(0, -1)}`,
      `Bearer ${token}x`,
      `Bearer ${token.toUpperCase()}`,
      `Bearer "${token}"`,
      `Bearer\t${token}`,
      `Token ${token}`,
      `Basic ${Buffer.from(`user:${token}`).toString('base64')}`,
      `Bearer ${'x'.repeat(12_000)}`,
      'Bearer \xff\xfe',
      "Bearer ' OR 1=1 --",
      'Bearer null',
      'Bearer undefined',
      'Bearer [object Object]',
    ];
    for (const value of wrong) {
      const { status, headers, body } = await get(`Authorization: ${value}`);
      expect(status, value.slice(0, 60)).to.equal(401);
      expect(headers['www-authenticate']).to.match(/^Bearer\b/);
      expect(JSON.parse(body)).to.include({ code: 'unauthorized', status: 401 });
      expect(body).to.not.include(token);
    }
  });

  it('is not looked up in the database when no token looks like it', async () => {
    const db = connectDatabase(gateway.config.DATABASE_URL);
    try {
      const callers = createCallers(db);
      let asked = 0;
      db.on('query', () => asked++);
      const last = token.at(-1) ?? '';
      const bad = [
        ...[
          '',
          ' ',
          'null',
          'hop_',
          'x'.repeat(47),
          'x'.repeat(12_000),
          "' OR 1=1 --",
          `${token} `,
          ` ${token}`,
          `${token}\n`,
        ],
        ...[token.slice(0, -1), `${token}A`, token.slice(4), token.toUpperCase(), token.replace('hop_', 'hop-')],
        ...[token.replace(/.$/, '+'), token.replace(/.$/, 'B'), `${token.slice(0, 20)}é${token.slice(21)}`],
      ];
      for (let n = 0; n < 50; n++) {
        const found = await Promise.all(bad.map((text) => callers.find(text)));
        expect(found.every((caller) => caller === null)).to.equal(true);
      }
      expect(asked, `queries for ${50 * bad.length} bearers`).to.equal(0);
      expect((await callers.find(token))?.kind, `a token that ends with ${last}`).to.equal('user');
      expect(asked).to.equal(1);
    } finally {
      await db.destroy();
    }
  });

  it('may be there once only', async () => {
    const good = `Authorization: Bearer ${token}`;
    const bad = `Authorization: Bearer ${'x'.repeat(43)}`;
    for (const lines of [
      [good, bad],
      [bad, good],
      [good, good],
    ])
      expect((await get(...lines)).status).to.equal(401);
  });

  it('cannot be replaced by a token in the URL, nor in a cookie or a body', async () => {
    const query = `access_token=${token}`;
    const answers: Json[] = [
      await api.call('GET', `/v1/tickets?${query}`, { token: null }),
      await api.call('GET', `/v1/tickets?${query}`),
      await api.call('GET', `/v1/events?${query}`, { token: null }),
      await api.call('GET', `/v1/tickets?${query}&${query}`, { token: null }),
      await api.call('GET', '/v1/tickets', { token: null, headers: { Cookie: query } }),
      await api.call('POST', '/v1/tickets', { token: null, body: { images: 1, access_token: token } }),
      await api.call('POST', '/v1/auth/logout', { token: null, body: { access_token: token } }),
    ];
    for (const { status, body } of answers) expect([status, body.code]).to.deep.equal([401, 'unauthorized']);
    expect((await api.call('GET', '/v1/tickets')).status, 'still valid').to.equal(200);
  });

  it('is noted as used, at most once a minute', async () => {
    const user = await gateway.createUser();
    const usedAt = async () => {
      const row = await gateway.db('tokens').where({ user_id: user.id }).first('last_used_at');
      return row.last_used_at as Date | null;
    };
    expect(await usedAt()).to.equal(null);
    const ask = () => api.call('GET', '/v1/tickets', { token: user.token });
    let first: Date | null = null;
    while (first === null) {
      await ask();
      first = await usedAt();
    }
    await ask();
    expect((await usedAt())?.getTime()).to.equal(first.getTime());
  });
});

describe('a handler that needs its caller', () => {
  it('refuses everybody where no authentication stands before it, and upload tokens where it needs a user', async () => {
    const caller = { tokenId: 'x', kind: 'upload', ticketId: 'x', user: { id: 'x', username: 'x', isAdmin: false } };
    const router = createRouter<CallerState>();
    router.get('/forgotten', (ctx) => {
      ctx.body = callerOf(ctx).user;
    });
    router.get('/misplaced', (ctx) => {
      ctx.state.caller = caller as Caller;
      ctx.body = userCallerOf(ctx).user;
    });
    const options = { log: pino({ level: 'silent' }), allowedOrigins: ['*'], trustProxy: false };
    const app = createApp([router.routes() as Middleware<State>], options);
    const server = await listen(app.callback(), { host: '127.0.0.1', port: 0, idleMs: 5_000 });
    try {
      const statusOf = async (path: string) => (await fetch(new URL(path, server.url))).status;
      expect([await statusOf('/forgotten'), await statusOf('/misplaced')]).to.deep.equal([401, 403]);
    } finally {
      await server.close(0);
    }
  });
});
