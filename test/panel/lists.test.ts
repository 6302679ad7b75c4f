import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import { readOverview } from '../../src/admin/operations/overview.ts';
import { searchChanges } from '../../src/admin/search/changes.ts';
import { searchImages } from '../../src/admin/search/images.ts';
import { searchTickets, type TicketSearch } from '../../src/admin/search/tickets.ts';
import { searchTokens } from '../../src/admin/search/tokens.ts';
import { createUser } from '../../src/identity/users.ts';
import { makeImage } from '../admin/things.ts';
import type { Json } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { type Clerk, hireAdmin } from './clerk.ts';
import { makeTicket } from './premises.ts';

const hostile = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' autofocus onfocus='alert(1)",
  '</textarea></title><svg onload=alert(1)>',
  '&lt;b&gt;{{7*7}}',
  '\u202egnp.exe\u2066',
];

/** Nothing but our own elements: outside of quotes, which the text cannot end, there is nothing of what was typed. */
function expectHarmless(page: string, where: string): void {
  const bare = page.replaceAll(/"[^"]*"/g, '""');
  expect(bare, where).not.to.match(
    /<script(?! type="" src="")|<img (?!class="")|<svg (?!viewBox="")|<[^>]* (on\w+=|autofocus)/,
  );
}

describe('lists in the admin panel', function () {
  this.timeout(60_000);
  const { gateway } = useGateway();
  let admin: Clerk & { id: string };
  before(async () => {
    admin = await hireAdmin(gateway, 'ada');
  });

  /** The ids that a list shows, as its links have them. */
  const idsIn = (text: string, kind: string) => [
    ...new Set([...text.matchAll(new RegExp(`href="/admin/${kind}/([0-9a-f-]{36})"`, 'g'))].map(([, id]) => id)),
  ];

  it('shows names of files, tickets and users as text, whatever they are', async () => {
    for (const text of hostile) {
      const user = await createUser(gateway.db, { username: text.replaceAll(/\s/g, '_') });
      const ticket = await makeTicket(gateway.db, user.id, { description: text, metadata: { [text]: text } });
      const image = await makeImage(gateway.db, ticket.id, 'failed', { filename: text });
      await gateway
        .db('images')
        .where({ id: image.id })
        .update({ slot: text.slice(0, 64), error_message: text });
      await gateway.db('tokens').where({ ticket_id: ticket.id }).update({ label: text });
      await admin.send(`/admin/tickets/${ticket.id}`, { description: `${text}!` });
      const query = new URLSearchParams({ q: text, user: text, actor: text });
      const pages = [
        ...['/admin', '/admin/tickets', '/admin/images', '/admin/users', '/admin/tokens?kind=upload', '/admin/log'],
        ...[`/admin/tickets/${ticket.id}`, `/admin/images/${image.id}`, `/admin/users/${user.id}`],
        ...['tickets', 'images', 'users', 'tokens', 'log', 'tokens/new'].map((list) => `/admin/${list}?${query}`),
      ];
      for (const path of pages) {
        const { text: page, status } = await admin.get(path);
        expect(status, path).to.equal(200);
        expectHarmless(page, path);
      }
      const selection = { action: 'delete', id: ticket.id, back: '/admin/tickets' };
      expectHarmless((await admin.send('/admin/tickets/act', selection)).text, 'confirmation');
    }
  });

  it('links to http addresses alone', async () => {
    const ticket = await makeTicket(gateway.db, (await gateway.createUser()).id);
    const { id } = await makeImage(gateway.db, ticket.id, 'stored');
    await gateway.db('images').where({ id }).update({ url: 'javascript:alert(1)' });
    expect((await admin.get(`/admin/images/${id}`)).text).not.to.include('href="javascript');
  });

  it('pages through tickets without missing or repeating one, in both directions', async () => {
    const { id: userId, username } = await gateway.createUser('many');
    const at = new Date('2026-05-01T00:00:00Z');
    const rows = Array.from({ length: 120 }, (_, index) => ({
      id: randomUUIDv7(),
      user_id: userId,
      expected: 1,
      expires_at: new Date(at.getTime() + index * 1000),
      // Some at the same moment: the id decides.
      created_at: new Date(at.getTime() + Math.floor(index / 3) * 1000),
    }));
    await gateway.db('tickets').insert(rows);
    const sorted = rows.toSorted((a, b) => a.created_at.getTime() - b.created_at.getTime() || (a.id < b.id ? -1 : 1));
    const oldest = sorted.map(({ id }) => id);
    for (const order of ['oldest', 'newest'] as const) {
      const seen: unknown[] = [];
      let path: string | undefined = `/admin/tickets?user=${username}&order=${order}`;
      for (let pages = 0; path; pages++) {
        expect(pages).to.be.below(4);
        const { text }: { text: string } = await admin.get(path);
        seen.push(...idsIn(text, 'tickets'));
        path = /rel="next" href="([^"]+)"/.exec(text)?.[1]?.replaceAll('&#38;', '&');
      }
      expect(seen).to.deep.equal(order === 'oldest' ? oldest : oldest.toReversed());
    }
  });

  it('finds tickets by status, user, day, words and id', async () => {
    const { id: userId } = await gateway.createUser('finder');
    const made = await Promise.all(
      ['a red barn', 'a 100% blue_barn', 'nothing'].map((description, index) =>
        makeTicket(gateway.db, userId, { description, images: 2, metadata: { order: `no-${index}` } }),
      ),
    );
    const [red, blue, plain] = made.map(({ id }) => id);
    await gateway.db('tickets').where({ id: red }).update({ created_at: '2026-03-01T23:59:59.999Z' });
    await makeImage(gateway.db, blue ?? '', 'uploading');
    const found = async (query: Record<string, string>) =>
      idsIn((await admin.get(`/admin/tickets?${new URLSearchParams(query)}`)).text, 'tickets');
    expect(await found({ user: 'FINDER' })).to.have.members([red, blue, plain]);
    expect(await found({ user: 'finder', status: 'uploading' })).to.deep.equal([blue]);
    expect(await found({ from: '2026-03-01', to: '2026-03-01' })).to.deep.equal([red]);
    expect(await found({ q: 'BARN' })).to.have.members([red, blue]);
    expect(await found({ q: '100% blue_' })).to.deep.equal([blue]);
    expect(await found({ q: '%a%b%' })).to.deep.equal([]);
    expect(await found({ q: 'no-2', user: 'finder' })).to.deep.equal([plain]);
    expect(await found({ q: red ?? '' })).to.deep.equal([red]);
    expect(await found({ user: 'nobody at all' })).to.deep.equal([]);
    expect(await found({ user: 'finder', order: 'expiring' })).to.deep.equal([red, blue, plain]);
  });

  it('finds images, users, tokens and changes', async () => {
    const { id: userId } = await gateway.createUser('keeper');
    const ticket = await makeTicket(gateway.db, userId, { images: 3 });
    const image = await makeImage(gateway.db, ticket.id, 'stored', { filename: 'IMG_7001.HEIC' });
    await makeImage(gateway.db, ticket.id, 'cancelled', { filename: 'other.png' });
    const found = async (path: string, kind: string) => idsIn((await admin.get(path)).text, kind);
    for (const query of ['q=img_7001', `q=${image.id}`, `q=${ticket.id}&status=stored`, 'user=keeper&status=stored'])
      expect(await found(`/admin/images?${query}`, 'images'), query).to.deep.equal([image.id]);
    const today = new Date().toISOString().slice(0, 10);
    expect(await found(`/admin/images?user=keeper&from=${today}&to=${today}`, 'images')).to.have.length(2);
    expect(await found('/admin/images?user=keeper&to=2020-01-01', 'images')).to.deep.equal([]);
    expect(await found('/admin/users?q=KEEP', 'users')).to.include(userId);
    expect(await found('/admin/users?state=admin&q=ad', 'users')).to.deep.equal([admin.id]);
    expect(await found('/admin/tokens?user=keeper', 'tokens')).to.have.length(1);
    for (const kind of ['images', 'users', 'tokens'] as const) {
      // Every page names who is signed in.
      const sorted = async (order: string) =>
        (await found(`/admin/${kind}?order=${order}`, kind)).filter((id) => id !== admin.id);
      const oldest = await sorted('oldest');
      expect(oldest, kind).to.have.length.above(1).and.deep.equal(oldest.toSorted());
      expect(await sorted('newest'), kind).to.deep.equal(oldest.toReversed());
    }
    expect(await found(`/admin/tokens?q=${ticket.id}`, 'tokens')).to.have.length(1);
    await admin.send('/admin/users/act', { action: 'disable', sure: 'yes', id: userId, back: '/admin/users' });
    for (const query of [`q=${userId}`, 'actor=ADA&action=user.disable', 'q=keeper'])
      expect((await admin.get(`/admin/log?${query}`)).text, query)
        .to.include('<code>user.disable</code>')
        .and.include(userId);
    expect((await admin.get('/admin/log?actor=nobody')).text).not.to.include('<code>user.disable</code>');
  });

  it('never reads a whole table for a page, nor for the overview', async () => {
    const { db } = gateway;
    const users = await Promise.all(Array.from({ length: 5 }, () => gateway.createUser()));
    await db.raw(
      `INSERT INTO tickets (id, user_id, expected, claimed, received, stored, completed_at, expires_at, created_at)
       SELECT gen_random_uuid(), (?::uuid[])[1 + n % 5], 1, 1, 1, 1, now(), now(), now() - n * interval '1 second'
       FROM generate_series(1, 20000) AS n`,
      [users.map(({ id }) => id)] as never,
    );
    await db.raw(`INSERT INTO images (id, ticket_id, status, staging, size, sha256, md5, received_at, stored_at, url, storage_key)
      SELECT id, id, 'stored', 'x', 1, repeat('a', 64), repeat('b', 32), created_at, created_at, 'u', 'k' FROM tickets WHERE claimed = 1 AND stored = 1 AND status = 'completed' AND version = 1`);
    await db.raw(`INSERT INTO tokens (id, user_id, kind, ticket_id, sha256)
      SELECT gen_random_uuid(), user_id, 'upload', id, sha256(id::text::bytea) FROM tickets WHERE version = 1 AND status = 'completed'`);
    await db.raw(
      `INSERT INTO audit_log (actor, action, target_kind, target_id) SELECT 'cli:x', 'ticket.update', 'ticket', id FROM tickets`,
    );
    await db.raw('ANALYZE');
    const asked: { sql: string; bindings: unknown[] }[] = [];
    const note = (query: { sql: string; bindings: unknown[] }) => asked.push(query);
    db.on('query', note);
    const userId = users[0]?.id;
    const day = { createdFrom: new Date('2026-03-01'), createdTo: new Date('2036-03-02') };
    const tickets: Omit<TicketSearch, 'limit'>[] = [
      ...[{}, { order: 'oldest' as const }, { order: 'expiring' as const }, { userId }, { ...day, userId }, day],
      ...[{ status: ['pending' as const] }, { status: ['completed' as const], userId }, { text: users[0]?.id }],
      { after: ['2026-03-01T00:00:00.000Z', '0197f0c6-0000-7000-8000-000000000000'] },
    ];
    for (const search of tickets) await searchTickets(db, { limit: 50, ...search });
    for (const search of [
      {},
      { status: 'failed' as const },
      { status: 'stored' as const },
      { ...day, status: 'received' as const },
      { ticketId: userId },
    ])
      await searchImages(db, { limit: 50, ...search });
    const oldest = { order: 'oldest' as const };
    for (const search of [{}, oldest, { kind: 'user' as const }, { userId }])
      await searchTokens(db, { limit: 50, ...search });
    for (const search of [{}, oldest, { actor: 'ada' }, { action: 'user.create' as const }, { text: userId }])
      await searchChanges(db, { limit: 50, ...search });
    await readOverview(db);
    db.off('query', note);

    const client = await db.client.acquireRawConnection();
    for (const { sql, bindings } of asked) {
      const { rows } = await client.query(`EXPLAIN ${sql}`, bindings);
      const plan = rows.map((row: Json) => row['QUERY PLAN']).join('\n');
      expect(plan, sql).not.to.match(/Seq Scan on (tickets|images|tokens|audit_log)/);
    }
    await client.end();
    expect(asked.length).to.be.above(30);
  });
});
