import { expect } from 'chai';
import { startSession } from '../../src/admin/panel/session.ts';
import { checkCredentials, holdCredentials, setUserDisabled, setUserPassword } from '../../src/identity/users.ts';
import { createClerk } from '../panel/clerk.ts';
import { type Answer, type Api, createApi, until } from '../support/client.ts';
import { startTestGateway, type TestGateway, useGateway } from '../support/gateway.ts';

describe('logging in', () => {
  let gateway: TestGateway;
  let api: Api;
  before(async () => {
    // Generous where it is not what is tested: all come from one address.
    gateway = await startTestGateway({ LOGIN_FAILURES_PER_MINUTE: '1000' });
    api = createApi(gateway.url, '');
    await gateway.createUser('Ánna', 'correct horse');
    await gateway.createUser('tokens-only');
  });
  after(() => gateway.close());

  const login = (username: unknown, password: unknown, more: Record<string, unknown> = {}) =>
    api.call('POST', '/v1/auth/login', { token: null, body: { username, password, ...more } });

  it('hands out a token that works, shows who it is for, and when it ends', async () => {
    const { status, headers, body } = await login('Ánna', 'correct horse');
    expect(status).to.equal(201);
    expect(headers.get('Cache-Control')).to.equal('no-store');
    expect(body).to.have.keys('token', 'tokenType', 'expiresAt', 'user');
    expect(body.tokenType).to.equal('Bearer');
    expect(body.user).to.have.keys('id', 'username').and.include({ username: 'Ánna' });
    expect(Date.parse(body.expiresAt) - Date.now()).to.be.within(168 * 3_600_000 - 10_000, 168 * 3_600_000);
    expect((await api.call('GET', '/v1/tickets', { token: body.token })).status).to.equal(200);
  });

  it('keeps only the hash of a token, and of a password', async () => {
    const { body } = await login('Ánna', 'correct horse');
    const { rows } = await gateway.db.raw(
      'SELECT to_jsonb(tokens)::text AS row FROM tokens UNION SELECT to_jsonb(users)::text FROM users',
    );
    const everything = JSON.stringify(rows);
    expect(everything).to.not.include(body.token.slice(4)).and.not.include('correct horse');
  });

  it('does not mind the case of a name, nor how an accent is typed in a password', async () => {
    await gateway.createUser('Bernd', 'pässwort');
    expect((await login('bernD', 'pässwort'.normalize('NFD'))).status).to.equal(201);
  });

  it('gives one answer to a wrong password, an unknown name, a user without password, and a disabled one', async () => {
    const disabled = await gateway.createUser('disabled', 'correct horse');
    await setUserDisabled(gateway.db, disabled.id, true);
    const answers: Answer[] = [];
    for (const [name, password] of [
      ['Ánna', 'wrong'],
      ['nobody', 'correct horse'],
      ['tokens-only', 'correct horse'],
      ['disabled', 'correct horse'],
      ['Ánna', 'correct horse '],
    ])
      answers.push(await login(name, password));
    for (const { status, body } of answers) {
      expect([status, body.code]).to.deep.equal([401, 'invalid-credentials']);
      const { requestId, ...same } = body;
      const { requestId: _, ...first } = answers[0]?.body ?? {};
      expect(same).to.deep.equal(first);
    }
  });

  it('works as long for an unknown name as for a wrong password', async () => {
    const timed = async (name: string) => {
      const started = performance.now();
      await login(name, 'wrong');
      return performance.now() - started;
    };
    const known: number[] = [];
    const unknown: number[] = [];
    // In turns, so that whatever else the machine does falls on both.
    for (let round = 0; round < 3; round++) {
      known.push(await timed('Ánna'));
      unknown.push(await timed(`nobody-${round}`));
    }
    // The quickest of each has the least of the machine's noise in it. Without the same work it is a hundredth.
    expect(Math.min(...unknown) / Math.min(...known)).to.be.within(0.15, 7);
  });

  it('takes the new password and not the old one after a change', async () => {
    const user = await gateway.createUser('changing', 'old password');
    await setUserPassword(gateway.db, user.id, 'new password');
    expect((await login('changing', 'old password')).status).to.equal(401);
    expect((await login('changing', 'new password')).status).to.equal(201);
  });

  it('refuses what can be no name and password', async () => {
    for (const [name, password] of [
      ['', 'x'],
      ['x', ''],
      [1, 'x'],
      ['x', null],
      ['x'.repeat(101), 'x'],
      ['x', 'x'.repeat(1025)],
      ['a\0b', 'x'],
      ['a\ud800b', 'x'],
      [['Ánna'], 'x'],
      [{ $ne: null }, { $ne: null }],
    ]) {
      const { status, body } = await login(name, password);
      expect([status, body.code], JSON.stringify([name, password])).to.deep.equal([422, 'invalid-request']);
    }
    expect((await login('Ánna', 'correct horse', { admin: true })).status).to.equal(422);
  });

  it('takes many logins at once, a few at a time', async () => {
    const answers = await Promise.all(Array.from({ length: 6 }, () => login('Ánna', 'correct horse')));
    expect(answers.map(({ status }) => status)).to.deep.equal(Array(6).fill(201));
  });

  it('gives a session the length that is set', async () => {
    await gateway.restart({ SESSION_HOURS: '2' });
    const { body } = await login('Ánna', 'correct horse');
    expect(Date.parse(body.expiresAt) - Date.now()).to.be.within(2 * 3_600_000 - 10_000, 2 * 3_600_000);
  });
});

describe('logging out', () => {
  const { gateway } = useGateway();

  it('ends the token at once, and no other of the user', async () => {
    await gateway.createUser('anna', 'correct horse');
    const api = createApi(gateway.url, '');
    const login = async (): Promise<string> =>
      (await api.call('POST', '/v1/auth/login', { token: null, body: { username: 'anna', password: 'correct horse' } }))
        .body.token;
    const [leaving, staying] = [await login(), await login()];
    const statusOf = async (token: string) => (await api.call('GET', '/v1/tickets', { token })).status;
    expect([await statusOf(leaving), await statusOf(staying)]).to.deep.equal([200, 200]);
    const { status, body } = await api.call('POST', '/v1/auth/logout', { token: leaving });
    expect([status, body]).to.deep.equal([204, '']);
    expect([await statusOf(leaving), await statusOf(staying)]).to.deep.equal([401, 200]);
    expect((await api.call('POST', '/v1/auth/logout', { token: leaving })).status, 'twice').to.equal(401);
  });

  it('ends it for requests that come at the same time', async () => {
    const { token } = await gateway.createUser();
    const api = createApi(gateway.url, token);
    let over = false;
    let late = 0;
    const askers = Array.from({ length: 4 }, async () => {
      for (let after = 0; after < 3; ) {
        const begunAfter = over;
        const { status } = await api.call('GET', '/v1/tickets');
        if (begunAfter) after += 1;
        if (begunAfter && status !== 401) late += 1;
      }
    });
    await api.call('POST', '/v1/auth/logout');
    over = true;
    await Promise.all(askers);
    expect(late).to.equal(0);
  });
});

describe('guessing passwords', () => {
  const start = async (settings: Record<string, string> = {}) => {
    const gateway = await startTestGateway({ LOGIN_FAILURES_PER_MINUTE: '2', ...settings });
    await gateway.createUser('anna', 'correct horse');
    const api = createApi(gateway.url, '');
    const login = (username: string, password: string, address?: string) =>
      api.call('POST', '/v1/auth/login', {
        token: null,
        body: { username, password },
        ...(address ? { headers: { 'X-Forwarded-For': address } } : {}),
      });
    return { gateway, login };
  };

  it('is stopped for a name from an address, also with the right password, and says for how long', async () => {
    const { gateway, login } = await start();
    try {
      const answers = await Promise.all(Array.from({ length: 5 }, (_, n) => login(n % 2 ? 'anna' : 'ANNA', 'wrong')));
      expect(answers.map(({ status }) => status).sort(), 'guesses at once').to.deep.equal([401, 401, 429, 429, 429]);
      const { status, body, headers } = await login('anna', 'correct horse');
      expect([status, body.code]).to.deep.equal([429, 'too-many-requests']);
      expect(Number(headers.get('Retry-After'))).to.be.within(1, 60);
      const pretended = await login('anna', 'correct horse', '203.0.113.1');
      expect(pretended.status, 'a header that nobody vouches for').to.equal(429);
      expect((await login('ben', 'wrong')).status, 'another name from this address').to.equal(401);
    } finally {
      await gateway.close();
    }
  });

  it('locks nobody out who comes from another address, nor does the panel', async () => {
    const { gateway, login } = await start({ TRUST_PROXY: 'true' });
    try {
      await gateway.db('users').update({ is_admin: true });
      const statuses = [];
      for (let n = 1; n <= 3; n++) statuses.push((await login('anna', 'wrong', '203.0.113.1')).status);
      expect(statuses).to.deep.equal([401, 401, 429]);
      expect((await login('anna', 'correct horse', '203.0.113.2')).status).to.equal(201);
      const panel = (address: string) =>
        createClerk(gateway.url).send(
          '/admin/sign-in',
          { username: 'anna', password: 'correct horse' },
          { from: '/admin/sign-in', headers: { 'X-Forwarded-For': address } },
        );
      expect((await panel('203.0.113.1')).status, 'what failed at the API counts here').to.equal(429);
      expect((await panel('203.0.113.2')).status).to.equal(303);
    } finally {
      await gateway.close();
    }
  });

  it('is stopped for an address that tries many names, an IPv6 network of 64 bits being one address', async () => {
    const { gateway, login } = await start({ TRUST_PROXY: 'true', LOGIN_FAILURES_PER_MINUTE: '1' });
    try {
      const guess = (n: number, address: string) => login(`name-${n}`, 'wrong', address);
      const of = async (addressOf: (n: number) => string) =>
        (await Promise.all(Array.from({ length: 7 }, (_, n) => guess(n, addressOf(n)))))
          .map(({ status }) => status)
          .sort();
      const stopped = [401, 401, 401, 401, 401, 429, 429];
      expect(await of((n) => `2001:db8:0:1::${n + 1}`)).to.deep.equal(stopped);
      expect(await of((n) => `198.51.100.${n}, 203.0.113.1`), 'the client made up the first').to.deep.equal(stopped);
      expect((await guess(1, '2001:db8:0:2::1')).status).to.equal(401);
      expect((await guess(1, '203.0.113.2')).status).to.equal(401);
    } finally {
      await gateway.close();
    }
  });

  it('is stopped for a name by many addresses together, but not for an address that the user logged in from', async () => {
    const { gateway, login } = await start({ TRUST_PROXY: 'true', LOGIN_FAILURES_PER_MINUTE: '1' });
    try {
      expect((await login('anna', 'correct horse', '203.0.113.200')).status).to.equal(201);
      const guesses = Array.from({ length: 21 }, (_, n) => login('anna', 'wrong', `203.0.113.${n}`));
      const statuses = (await Promise.all(guesses)).map(({ status }) => status);
      expect(statuses.sort()).to.deep.equal([...Array(20).fill(401), 429]);
      expect((await login('anna', 'correct horse', '203.0.113.100')).status).to.equal(429);
      expect((await login('anna', 'correct horse', '203.0.113.200')).status).to.equal(201);
    } finally {
      await gateway.close();
    }
  });

  it('does not count logins that succeed', async () => {
    const { gateway, login } = await start();
    try {
      for (let n = 0; n < 4; n++) expect((await login('anna', 'correct horse')).status).to.equal(201);
      expect((await login('anna', 'wrong')).status).to.equal(401);
    } finally {
      await gateway.close();
    }
  });
});

describe('a flood of logins', () => {
  const { gateway } = useGateway({ LOGIN_FAILURES_PER_MINUTE: '1000', TRUST_PROXY: 'true' });
  before(async () => {
    await gateway.createUser('anna', 'correct horse');
  });

  /** Bad logins from one network of 64 bits, all at once. */
  function flood(count: number) {
    const leaving = new AbortController();
    const statuses: number[] = [];
    const sent = Array.from({ length: count }, async (_, n) => {
      const answer = await login(`name-${n}`, 'wrong', `2001:db8::${n + 1}`, leaving.signal).catch(() => null);
      if (answer) statuses.push(answer.status);
    });
    const statusesOf = (wanted: number) => statuses.filter((status) => status === wanted).length;
    return { statusesOf, leave: () => leaving.abort(), over: () => Promise.all(sent) };
  }

  const login = (username: string, password: string, address: string, signal?: AbortSignal) =>
    fetch(`${gateway.url}/v1/auth/login`, {
      method: 'POST',
      body: JSON.stringify({ username, password }),
      headers: { 'Content-Type': 'application/json', 'X-Forwarded-For': address },
      ...(signal ? { signal } : {}),
    });

  it('is refused past a bounded queue, and delays a login from elsewhere by its turn alone', async () => {
    const bad = flood(90);
    await until('the queue is full', () => bad.statusesOf(503) > 0);
    const before = bad.statusesOf(401);
    const right = await login('anna', 'correct horse', '192.0.2.1');
    const meanwhile = bad.statusesOf(401) - before;
    bad.leave();
    expect(right.status).to.equal(201);
    // Two are checked at once, and those of both addresses take turns.
    expect(meanwhile).to.be.at.most(6);
    expect(bad.statusesOf(503)).to.be.within(20, 26);
    await bad.over();
  });

  it('says when to come back', async () => {
    const bad = flood(80);
    await until('the queue is full', () => bad.statusesOf(503) > 0);
    const refused = await login('anna', 'wrong', '2001:db8::ffff');
    bad.leave();
    expect(refused.status).to.equal(503);
    expect(Number(refused.headers.get('Retry-After'))).to.be.within(1, 60);
    expect(await refused.json()).to.include({ code: 'service-unavailable' });
    await bad.over();
  });

  it('leaves the queue with those who leave', async () => {
    const once = performance.now();
    await login('anna', 'wrong', '192.0.2.1');
    const oneMs = performance.now() - once;
    const bad = flood(80);
    await until('the queue is full', () => bad.statusesOf(503) > 0);
    bad.leave();
    await bad.over();
    const left = performance.now();
    const from = () => login('anna', 'correct horse', '2001:db8::ffff');
    await until('a login of the same network is through', async () => (await from()).status === 201);
    // With all 64 of them before it, it would take 32 times as long as one.
    expect(performance.now() - left).to.be.below(12 * oneMs);
  });
});

describe('signing out everywhere', () => {
  const { gateway } = useGateway({ LOGIN_FAILURES_PER_MINUTE: '1000' });
  let anna: { id: string; token: string };
  let api: Api;
  before(async () => {
    anna = await gateway.createUser('anna', 'correct horse');
    api = createApi(gateway.url, '');
  });

  const login = async (password: string): Promise<Answer> =>
    api.call('POST', '/v1/auth/login', { token: null, body: { username: 'anna', password } });
  const statusOf = async (token: string) => (await api.call('GET', '/v1/tickets', { token })).status;
  const sessions = () => gateway.db('sessions').where({ user_id: anna.id });

  it('ends sessions and the tokens of all logins at once, and no token that was issued, nor anybody else’s', async () => {
    const other = await gateway.createUser('ben');
    const [one, two] = [(await login('correct horse')).body.token, (await login('correct horse')).body.token];
    const { uploadToken, id } = await createApi(gateway.url, one).openTicket(1);
    await startSession(gateway.db, anna.id);
    expect([await statusOf(one), await statusOf(two), await statusOf(anna.token)]).to.deep.equal([200, 200, 200]);
    expect((await api.call('POST', '/v1/auth/logout', { token: one, body: { everywhere: true } })).status).to.equal(
      204,
    );
    expect([await statusOf(one), await statusOf(two), await sessions()]).to.deep.equal([401, 401, []]);
    expect([await statusOf(anna.token), await statusOf(other.token)]).to.deep.equal([200, 200]);
    expect((await api.call('GET', `/v1/tickets/${id}`, { token: uploadToken })).status).to.equal(200);
  });

  it('is not what a logout without it means, with or without a body', async () => {
    const staying = (await login('correct horse')).body.token;
    for (const options of [
      {},
      { body: {} },
      { body: { everywhere: false } },
      { headers: { 'Content-Type': 'application/json' } },
    ]) {
      const { token } = (await login('correct horse')).body;
      expect((await api.call('POST', '/v1/auth/logout', { token, ...options })).status).to.equal(204);
      expect([await statusOf(token), await statusOf(staying)]).to.deep.equal([401, 200]);
    }
    for (const [body, status] of [
      [{ everywhere: 'yes' }, 422],
      [{ all: true }, 422],
      [Buffer.from('x'), 415],
    ] as const)
      expect((await api.call('POST', '/v1/auth/logout', { token: staying, body })).status).to.equal(status);
    expect(await statusOf(staying), 'what was not understood ends nothing').to.equal(200);
  });

  describe('and changing the own password', () => {
    const change = (token: string, body: Record<string, unknown>) =>
      api.call('POST', '/v1/auth/password', { token, body });

    it('takes the present password and a new one of at least 12 characters', async () => {
      const { token } = (await login('correct horse')).body;
      const wrong = await change(token, { current: 'wrong', next: 'correct horse battery' });
      expect([wrong.status, wrong.body.code]).to.deep.equal([401, 'invalid-credentials']);
      // Six characters that are two code units each, and twelve that are six once they are put together.
      for (const next of [
        'elevenchars',
        '🐴🐴🐴🐴🐴🐴',
        'e\u0301'.repeat(6),
        'x'.repeat(1025),
        'half a pair \ud83d',
        12,
      ]) {
        const { status, body } = await change(token, { current: 'correct horse', next });
        expect([status, body.code], `${next}`).to.deep.equal([422, 'invalid-request']);
      }
      await startSession(gateway.db, anna.id);
      const { status, body } = await change(token, { current: 'correct horse', next: ' ünlike\tany 🐴 ' });
      expect([status, body]).to.deep.equal([204, '']);
      expect(await statusOf(token), 'tokens stay').to.equal(200);
      expect(await sessions()).to.deep.equal([]);
      expect((await login('correct horse')).status).to.equal(401);
      expect((await login(' ünlike\tany 🐴 '.normalize('NFD'))).status).to.equal(201);
    });

    it('ends all logins on request, also the one that asks and one that just begins', async () => {
      const { token } = (await login(' ünlike\tany 🐴 ')).body;
      const racing = Array.from({ length: 3 }, () => login(' ünlike\tany 🐴 '));
      const asked = change(token, { current: ' ünlike\tany 🐴 ', next: 'correct horse', everywhere: true });
      expect((await asked).status).to.equal(204);
      for (const { body } of await Promise.all(racing))
        if (body.token) expect(await statusOf(body.token)).to.equal(401);
      expect([await statusOf(token), await statusOf(anna.token)]).to.deep.equal([401, 200]);
      expect((await login('correct horse')).status).to.equal(201);
    });

    it('leaves nothing to a login whose password was changed while it was checked', async () => {
      const user = await checkCredentials(gateway.db, 'anna', 'correct horse');
      if (!user) throw new Error('the password is right');
      await gateway.db.transaction((trx) => holdCredentials(trx, user));
      await setUserPassword(gateway.db, anna.id, 'correct horse');
      const refused = await gateway.db.transaction((trx) => holdCredentials(trx, user)).catch((error: Error) => error);
      expect(refused).to.include({ code: 'invalid-credentials' });
    });

    it('is nothing for a token that was issued, nor for an upload token', async () => {
      const { uploadToken } = await createApi(gateway.url, anna.token).openTicket(1);
      for (const token of [anna.token, uploadToken]) {
        const { status, body } = await change(token, { current: 'correct horse', next: 'correct horse battery' });
        expect([status, body.code]).to.deep.equal([403, 'forbidden']);
      }
    });

    it('counts wrong passwords as failed logins', async () => {
      const { token } = (await login('correct horse')).body;
      await gateway.restart({ LOGIN_FAILURES_PER_MINUTE: '2' });
      const statuses = [];
      for (let n = 0; n < 3; n++)
        statuses.push((await change(token, { current: 'wrong', next: 'correct horse battery' })).status);
      expect(statuses).to.deep.equal([401, 401, 429]);
      expect((await login('correct horse')).status).to.equal(429);
    });
  });
});
