import { expect } from 'chai';
import { startSession } from '../../src/admin/panel/session.ts';
import { createUser, setUserDisabled, setUserPassword } from '../../src/identity/users.ts';
import { createApi } from '../support/client.ts';
import { startTestGateway, useGateway } from '../support/gateway.ts';
import { type Clerk, createClerk, hireAdmin, PASSWORD, tokenIn } from './clerk.ts';

const pages = [
  '/admin',
  '/admin/tickets',
  '/admin/images',
  '/admin/users',
  '/admin/tokens',
  '/admin/tokens/new',
  '/admin/log',
];

describe('who may use the admin panel', function () {
  this.timeout(60_000);
  const { gateway } = useGateway();
  let admin: Clerk & { id: string };
  before(async () => {
    admin = await hireAdmin(gateway, 'ada');
    await setUserPassword(gateway.db, admin.id, PASSWORD);
  });

  it('sends strangers to the sign-in page, and from there to where they wanted', async () => {
    const stranger = createClerk(gateway.url);
    for (const path of [...pages, '/admin/nothing', '/admin/tickets?status=failed&q=a%20b']) {
      const { status, location } = await stranger.get(path);
      expect(status, path).to.equal(303);
      expect(location).to.match(/^\/admin\/sign-in/);
    }
    const { location } = await stranger.get('/admin/tickets?status=pending');
    const page = await stranger.get(location ?? '');
    expect(page.status).to.equal(200);
    const next = /name="next" value="([^"]+)"/.exec(page.text)?.[1];
    expect(next).to.equal('/admin/tickets?status=pending');
    const fields = { username: 'ADA', password: PASSWORD, next: next ?? '' };
    const signedIn = await stranger.send('/admin/sign-in', fields, { from: '/admin/sign-in' });
    expect(signedIn).to.include({ status: 303, location: '/admin/tickets?status=pending' });
  });

  it('leads nowhere else after signing in, whatever the link said', async () => {
    const stranger = createClerk(gateway.url);
    for (const next of [
      ...['https://evil.example/', '//evil.example', '/\\evil.example', '/admin//evil', '/v1/tickets'],
      ...['javascript:alert(1)', '/admin/..//evil.example', '/administrator', '/admin\n.evil.example'],
    ]) {
      const { text } = await stranger.get(`/admin/sign-in?${new URLSearchParams({ next })}`);
      expect(/name="next" value="([^"]+)"/.exec(text)?.[1], next).to.equal('/admin');
    }
  });

  it('shows its pages to admins, kept by nobody, framed by nobody and without anything inline', async () => {
    for (const path of pages) {
      const { status, headers, text } = await admin.get(path, { Origin: 'https://evil.example' });
      expect(status, path).to.equal(200);
      expect(headers.get('Cache-Control')).to.equal('no-store');
      expect(headers.get('Access-Control-Allow-Origin'), 'not for other origins').to.equal(null);
      const policy = headers.get('Content-Security-Policy') ?? '';
      expect(policy).to.include("default-src 'none'").and.include("frame-ancestors 'none'");
      expect(policy).not.to.include('unsafe');
      expect(text).not.to.match(/<style|\sstyle=|<script(?! type="module" src=")|\son\w+=/);
    }
  });

  it('refuses users who are no admins, wrong passwords, and odd ones', async () => {
    const { username } = await gateway.createUser('ben', PASSWORD);
    const clerk = createClerk(gateway.url);
    expect(await clerk.signIn(username, PASSWORD).then(({ status }) => status)).to.equal(403);
    for (const [name, password] of [
      ['ada', 'wrong'],
      ['nobody', PASSWORD],
      ['a\0da', PASSWORD],
      ['ada', 'x'.repeat(2000)],
    ] as const)
      expect((await clerk.signIn(name, password)).status, name).to.equal(401);
    expect((await clerk.get('/admin')).status).to.equal(303);
    expect(clerk.cookies.has('hopla_admin')).to.equal(false);
  });

  it('slows down whoever guesses passwords', async () => {
    const strict = await startTestGateway({ LOGIN_FAILURES_PER_MINUTE: '2' });
    try {
      await createUser(strict.db, { username: 'eve', password: PASSWORD, isAdmin: true });
      const clerk = createClerk(strict.url);
      const statuses: number[] = [];
      for (let tries = 0; tries < 3; tries++) statuses.push((await clerk.signIn('eve', 'guess')).status);
      expect(statuses).to.deep.equal([401, 401, 429]);
      const right = await clerk.signIn('eve', PASSWORD);
      expect(right.status, 'the right one has to wait, too').to.equal(429);
      expect(Number(right.headers.get('Retry-After'))).to.be.within(1, 60);
    } finally {
      await strict.close();
    }
  });

  it('takes no API token, and its cookie opens nothing else', async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    expect((await api.call('GET', '/v1/tickets')).status).to.equal(200);
    const answer = await fetch(new URL('/admin', gateway.url), {
      headers: { Authorization: `Bearer ${api.token}` },
      redirect: 'manual',
    });
    expect(answer.status).to.equal(303);

    const secret = admin.cookies.get('hopla_admin') ?? '';
    expect(secret).to.have.length(43);
    for (const headers of [{ Cookie: `hopla_admin=${secret}` }, { Authorization: `Bearer ${secret}` }]) {
      const { status } = await createApi(gateway.url, '').call('GET', '/v1/tickets', { token: null, headers });
      expect(status).to.equal(401);
    }
  });

  it('keeps of a session only a hash, in a cookie that scripts and other sites do not get', async () => {
    const clerk = createClerk(gateway.url);
    const { headers } = await clerk.signIn('ada', PASSWORD);
    const line = headers.getSetCookie().find((cookie) => cookie.startsWith('hopla_admin='));
    expect(line).to.match(/^hopla_admin=[\w-]{43}; Path=\/admin; HttpOnly; SameSite=Strict$/);
    const rows = await gateway.db('sessions');
    expect(JSON.stringify(rows)).not.to.include(clerk.cookies.get('hopla_admin'));
  });

  it('sends its cookie over TLS alone where the gateway is reached by that', async () => {
    const secured = await startTestGateway({ PUBLIC_URL: 'https://photos.example' });
    try {
      await createUser(secured.db, { username: 'tess', password: PASSWORD, isAdmin: true });
      const clerk = createClerk(secured.url);
      const options = { from: '/admin/sign-in', headers: { Origin: 'https://photos.example' } };
      const { headers, status } = await clerk.send('/admin/sign-in', { username: 'tess', password: PASSWORD }, options);
      expect(status).to.equal(303);
      expect(headers.getSetCookie().find((cookie) => cookie.startsWith('hopla_admin='))).to.match(/; Secure$/);
    } finally {
      await secured.close();
    }
  });

  it('obeys no form from another site, without its token, or with a foreign one', async () => {
    const other = await hireAdmin(gateway, 'oscar');
    const { id } = await gateway.createUser('victim');
    const wish = { action: 'disable', sure: 'yes', id };
    const foreign = tokenIn((await other.get('/admin/tokens/new')).text);
    const attempts: [string, () => ReturnType<Clerk['send']>][] = [
      ['foreign origin', () => admin.send('/admin/users/act', wish, { headers: { Origin: 'https://evil.example' } })],
      ['no origin', () => admin.send('/admin/users/act', wish, { headers: { Origin: null } })],
      ['opaque origin', () => admin.send('/admin/users/act', wish, { headers: { Origin: 'null' } })],
      ['a site beside', () => admin.send('/admin/users/act', wish, { headers: { 'Sec-Fetch-Site': 'same-site' } })],
      ['no token', () => admin.send('/admin/users/act', wish, { from: '/healthz' })],
    ];
    for (const [name, attempt] of attempts) expect((await attempt()).status, name).to.equal(403);
    expect((await createClerk(gateway.url).send('/admin/users/act', wish)).status, 'no session').to.equal(401);
    const stolen = await fetch(new URL('/admin/users/act', gateway.url), {
      method: 'POST',
      headers: { Cookie: `hopla_admin=${admin.cookies.get('hopla_admin')}`, Origin: gateway.url },
      body: new URLSearchParams({ ...wish, token: foreign }),
    });
    expect(stolen.status, 'the token of somebody else').to.equal(403);
    for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=x']) {
      const { status } = await admin.send('/admin/users/act', wish, { headers: { 'Content-Type': type } });
      expect(status, type).to.equal(415);
    }
    expect((await gateway.db('users').where({ id }).first()).disabled_at).to.equal(null);
    expect((await admin.send('/admin/users/act', wish)).status, 'and the true one is obeyed').to.equal(303);
    expect((await gateway.db('users').where({ id }).first()).disabled_at).not.to.equal(null);
  });

  it('signs nobody in by a form of another site', async () => {
    const clerk = createClerk(gateway.url);
    const fields = { username: 'ada', password: PASSWORD };
    const sent = [
      await clerk.send('/admin/sign-in', fields, { from: '/healthz' }),
      await clerk.send('/admin/sign-in', fields, {
        from: '/admin/sign-in',
        headers: { Origin: 'https://evil.example' },
      }),
    ];
    for (const { status } of sent) expect(status).to.equal(403);
  });

  it('refuses a form that is too large', async () => {
    const { status } = await admin.send('/admin/tokens/new', { label: 'x'.repeat(300_000) });
    expect(status).to.equal(413);
  });

  it('ends a session on signing out, after half an hour of silence, and after twelve hours in any case', async () => {
    const clerk = await hireAdmin(gateway, 'sid');
    const secret = clerk.cookies.get('hopla_admin') ?? '';
    expect((await clerk.send('/admin/sign-out', {})).location).to.equal('/admin/sign-in');
    clerk.cookies.set('hopla_admin', secret);
    expect((await clerk.get('/admin')).status, 'the old cookie').to.equal(303);

    for (const [column, age] of [
      ['seen_at', '31 minutes'],
      ['created_at', '13 hours'],
    ] as const) {
      clerk.cookies.set('hopla_admin', await startSession(gateway.db, clerk.id));
      expect((await clerk.get('/admin')).status).to.equal(200);
      await gateway
        .db('sessions')
        .where({ user_id: clerk.id })
        .update({ [column]: gateway.db.raw(`now() - interval '${age}'`) });
      expect((await clerk.get('/admin')).status, column).to.equal(303);
    }
  });

  it('is kept awake by people and not by a page that asks by itself', async () => {
    const clerk = await hireAdmin(gateway, 'wes');
    const age = () =>
      gateway
        .db('sessions')
        .where({ user_id: clerk.id })
        .update({ seen_at: gateway.db.raw("now() - interval '20 minutes'") });
    const seen = async () =>
      Date.now() - (await gateway.db('sessions').where({ user_id: clerk.id }).first()).seen_at.getTime();
    await age();
    expect((await clerk.get('/admin', { 'X-Unattended': '1' })).status).to.equal(200);
    expect(await seen()).to.be.above(19 * 60_000);
    await clerk.get('/admin');
    expect(await seen()).to.be.below(60_000);
  });

  it('shuts out an admin who is disabled, is none any more, or has a new password', async () => {
    const clerk = await hireAdmin(gateway, 'tom');
    await gateway.db('users').where({ id: clerk.id }).update({ is_admin: false });
    expect((await clerk.get('/admin')).status).to.equal(303);
    await gateway.db('users').where({ id: clerk.id }).update({ is_admin: true });
    expect((await clerk.get('/admin')).status).to.equal(200);
    await setUserDisabled(gateway.db, clerk.id, true);
    expect((await clerk.get('/admin')).status).to.equal(303);
    await setUserDisabled(gateway.db, clerk.id, false);
    await admin.send(`/admin/users/${clerk.id}/password`, { how: 'given', password: 'another password' });
    expect((await clerk.get('/admin')).status).to.equal(303);
  });

  it('says so where the place to begin in a list is none', async () => {
    const id = '0197f0c6-0000-7000-8000-000000000000';
    const cursor = (position: unknown) => Buffer.from(JSON.stringify(position)).toString('base64url');
    const wrong: [path: string, position: unknown][] = [
      ...[
        ...['0000-01-01T00:00:00Z', '0000-12-31T23:59:59.999Z', '2026-13-01T00:00:00Z', '2026-02-30T00:00:00Z'],
        ...['2026-01-01T00:00:00+23:59', '2026-01-01T25:00:00Z', '+012026-01-01T00:00:00Z', 'infinity', 'now'],
      ].map((time): [string, unknown] => ['/admin/tickets', [time, id]]),
      ['/admin/tickets', ['2026-01-01T00:00:00Z', `${id}0`]],
      ['/admin/users', ['a\0b']],
      ['/admin/users', ['\ud800']],
      ['/admin/users?order=newest', ['a']],
      ['/admin/log', ['9999999999999999999']],
      ['/admin/log', ['-1']],
      ['/admin/images', [id, id]],
      ['/admin/images', { id }],
    ];
    for (const [path, position] of wrong) {
      const address = `${path}${path.includes('?') ? '&' : '?'}after=${cursor(position)}`;
      expect((await admin.get(address)).status, `${path} ${JSON.stringify(position)}`).to.equal(400);
    }
    for (const time of ['0001-01-01T00:00:00Z', '2026-01-01T00:00:00.000Z', '9999-12-31T23:59:59Z'])
      expect((await admin.get(`/admin/tickets?after=${cursor([time, id])}`)).status, time).to.equal(200);
    for (const day of ['0000-01-01', '9999-12-31', '-000001-01-01'])
      for (const path of ['/admin/tickets', '/admin/images', '/admin/log'])
        expect((await admin.get(`${path}?from=${day}&to=${day}`)).status, `${path} ${day}`).to.equal(200);
  });

  it('answers what it does not have like the rest, and other methods as the API does', async () => {
    for (const path of [
      '/admin/nothing',
      '/admin/tickets/nothing',
      '/admin/images/0197f0c6-0000-7000-8000-000000000000',
      '/admin/users/x',
      '/admin/tokens/x',
    ]) {
      const { status, text } = await admin.get(path);
      expect(status, path).to.equal(404);
      expect(text).to.include('<h1>');
    }
    for (const path of ['/admin/tickets?after=x', '/admin/tickets?after=WyJhIl0', '/admin/log?after=WzFd'])
      expect((await admin.get(path)).status, path).to.equal(400);
    expect((await admin.get('/admin/tickets?q=%00&status=odd&from=never&user=%c3%bc')).status).to.equal(200);
    for (const path of ['/admin/tickets?user=%ed%a0%80', '/admin/tokens/%zz', '/admin/nothing%'])
      expect((await admin.get(path)).status, path).to.equal(400);
    expect((await fetch(new URL('/admin/tickets', gateway.url), { method: 'DELETE' })).status).to.equal(405);
  });
});
