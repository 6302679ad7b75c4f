import { expect } from 'chai';
import { setUserDisabled, setUserPassword } from '../../src/identity/users.ts';
import { type Answer, type Api, createApi } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

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
      ['x', 'x'.repeat(1001)],
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
  let gateway: TestGateway;
  before(async () => {
    gateway = await startTestGateway();
  });
  after(() => gateway.close());

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

  it('is stopped by address, whatever the name, also with the right password, and says for how long', async () => {
    const { gateway, login } = await start();
    try {
      for (const name of ['a', 'b']) expect((await login(name, 'wrong')).status).to.equal(401);
      const { status, body, headers } = await login('anna', 'correct horse');
      expect([status, body.code]).to.deep.equal([429, 'too-many-requests']);
      expect(Number(headers.get('Retry-After'))).to.be.within(1, 60);
      expect((await login('d', 'wrong', '203.0.113.1')).status, 'a header that nobody vouches for').to.equal(429);
    } finally {
      await gateway.close();
    }
  });

  it('is stopped by name, from whatever address, and counts guesses that come at once', async () => {
    const { gateway, login } = await start({ TRUST_PROXY: 'true' });
    try {
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, n) => login(n % 2 ? 'anna' : 'ANNA', 'wrong', `203.0.113.${n}`)),
      );
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([401, 401, ...Array(8).fill(429)]);
      expect((await login('someone-else', 'wrong', '203.0.113.99')).status).to.equal(401);
    } finally {
      await gateway.close();
    }
  });

  it('is stopped by the address that the proxy saw, not the one that the client made up', async () => {
    const { gateway, login } = await start({ TRUST_PROXY: 'true' });
    try {
      const guess = (n: number) => login(`name-${n}`, 'wrong', `198.51.100.${n}, 203.0.113.1`);
      for (let n = 1; n <= 2; n++) expect((await guess(n)).status).to.equal(401);
      expect((await guess(3)).status).to.equal(429);
      expect((await login('name-5', 'wrong', '198.51.100.5, 203.0.113.2')).status).to.equal(401);
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
