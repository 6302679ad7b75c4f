import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import pg from 'pg';
import { listTickets, TicketQuery } from '../../src/tickets/list.ts';
import { type Api, createApi, type Json } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

describe('the list of tickets', () => {
  const { gateway } = useGateway();

  const newUser = async () => {
    const user = await gateway.createUser();
    return { ...user, api: createApi(gateway.url, user.token) };
  };
  const list = async (api: Api, query: string) => {
    const { status, body, headers } = await api.call('GET', `/v1/tickets?${query}`);
    expect(status, JSON.stringify(body)).to.equal(200);
    return { items: body.items as Json[], nextCursor: body.nextCursor as string | null, link: headers.get('Link') };
  };
  /** All pages, by the Link header alone, as a generic client follows it. */
  const follow = async (api: Api, query: string, onPage: () => Promise<unknown> = async () => {}) => {
    const ids: string[] = [];
    for (let at: string | null = `/v1/tickets?${query}`; at !== null; ) {
      const { body, headers }: Json = await api.call('GET', at);
      ids.push(...body.items.map(({ id }: Json) => id));
      const link = headers.get('Link');
      expect(link === null, 'a Link exactly where there is a cursor').to.equal(body.nextCursor === null);
      at = link === null ? null : (/^<([^>]+)>; rel="next"$/.exec(link)?.[1] ?? 'no link');
      await onPage();
    }
    return ids;
  };
  /** Inserts tickets at the given times, and in the given states. */
  const insert = async (userId: string, times: string[], counters: Record<string, unknown> = {}) => {
    const rows = times.map((time) => ({
      id: randomUUID(),
      user_id: userId,
      expected: 2,
      created_at: time,
      expires_at: '2100-01-01T00:00:00Z',
      ...counters,
    }));
    await gateway.db.batchInsert('tickets', rows);
    return rows.map(({ id }) => id);
  };

  it('is empty for a new user', async () => {
    const { api } = await newUser();
    expect(await list(api, '')).to.deep.equal({ items: [], nextCursor: null, link: null });
  });

  it('shows own tickets newest first, as their details show them, and nobody else’s', async () => {
    const [me, other] = [await newUser(), await newUser()];
    const first = await me.api.openTicket(1, { description: 'first' });
    await other.api.openTicket(1);
    const second = await me.api.openTicket(2, { metadata: { a: 1 } });
    const { items } = await list(me.api, '');
    const details = [await me.api.ticket(second.id), await me.api.ticket(first.id)];
    expect(items).to.deep.equal(details.map(({ images, ...ticket }) => ticket));
    expect(JSON.stringify(items)).to.not.include('uploadToken');
  });

  it('pages through everything once while new tickets are opened, also those of the same moment', async () => {
    const me = await newUser();
    const sameMoment = await insert(me.id, Array(25).fill('2025-01-01T00:00:00.123Z'));
    const others = await insert(me.id, ['2024-12-31T23:59:59.999Z', '2025-01-01T00:00:00.124Z']);
    const seen = await follow(me.api, 'limit=4', () => me.api.openTicket(1));
    expect(seen).to.have.members([...sameMoment, ...others]);
    expect(new Set(seen).size).to.equal(seen.length);
  });

  it('has 20 on a page unless told, and at most 100', async () => {
    const me = await newUser();
    await insert(me.id, Array(101).fill('2025-01-01T00:00:00Z'));
    expect((await list(me.api, '')).items).to.have.length(20);
    expect((await list(me.api, 'limit=100')).items).to.have.length(100);
    expect((await list(me.api, 'limit=1')).items).to.have.length(1);
    await insert(me.id, ['2025-01-01T00:00:00Z']);
    expect(await follow(me.api, 'limit=51')).to.have.length(102);
  });

  it('keeps the filters in the link to the next page', async () => {
    const me = await newUser();
    const pending = await insert(me.id, Array(5).fill('2025-03-01T00:00:00Z'));
    await insert(me.id, Array(5).fill('2025-03-01T00:00:00Z'), { claimed: 1 });
    await insert(me.id, Array(5).fill('2026-03-01T00:00:00Z'));
    expect(await follow(me.api, 'limit=2&status=pending&createdTo=2025-03-01')).to.have.members(pending);
  });

  it('filters by status, repeated or with commas', async () => {
    const me = await newUser();
    const at = ['2025-01-01T00:00:00Z', '2025-01-02T00:00:00Z'];
    const done = { claimed: 2, received: 2, stored: 2, completed_at: '2025-01-03T00:00:00Z' };
    const ids: Record<string, string[]> = {
      pending: await insert(me.id, at),
      uploading: await insert(me.id, at, { claimed: 1 }),
      processing: await insert(me.id, at, { claimed: 2, received: 2 }),
      completed: await insert(me.id, at, done),
      expired: await insert(me.id, at, { expired: true }),
    };
    const idsOf = async (query: string) => (await list(me.api, query)).items.map(({ id }) => id);
    for (const [status, own] of Object.entries(ids)) expect(await idsOf(`status=${status}`)).to.have.members(own);
    const two = [...(ids.pending ?? []), ...(ids.completed ?? [])];
    expect(await idsOf('status=pending&status=completed')).to.have.members(two);
    expect(await idsOf('status=pending,completed')).to.have.members(two);
    expect(await idsOf('status=pending,completed&status=completed,completed')).to.have.members(two);
    const all = await idsOf('');
    expect(await follow(me.api, 'limit=3&status=pending,uploading,processing,completed,expired')).to.have.members(all);
    const times = (await list(me.api, 'status=pending,completed')).items.map(({ createdAt }) => createdAt);
    expect(times).to.deep.equal([...times].sort().reverse());
  });

  it('filters by days and by moments, both ends included, in any offset', async () => {
    const me = await newUser();
    const times = [
      '2025-05-01T23:59:59.999Z',
      '2025-05-02T00:00:00.000Z',
      '2025-05-02T12:00:00.500Z',
      '2025-05-02T23:59:59.999Z',
      '2025-05-03T00:00:00.000Z',
    ];
    await insert(me.id, times);
    const between = async (query: string) =>
      (await list(me.api, query)).items.map(({ createdAt }) => times.indexOf(createdAt)).sort();
    expect(await between('createdFrom=2025-05-02&createdTo=2025-05-02'), 'one whole day').to.deep.equal([1, 2, 3]);
    expect(await between('createdFrom=2025-05-02')).to.deep.equal([1, 2, 3, 4]);
    expect(await between('createdTo=2025-05-02')).to.deep.equal([0, 1, 2, 3]);
    const moment = '2025-05-02T12:00:00.500Z';
    expect(await between(`createdFrom=${moment}&createdTo=${moment}`)).to.deep.equal([2]);
    expect(await between('createdFrom=2025-05-02T12:00:00.501Z')).to.deep.equal([3, 4]);
    expect(await between('createdFrom=2025-05-02T12:00:00.5001Z'), 'finer than we keep').to.deep.equal([3, 4]);
    expect(await between('createdTo=2025-05-02T12:00:00.5009Z'), 'finer than we keep').to.deep.equal([0, 1, 2]);
    expect(await between('createdTo=2025-05-02T12:00:00.499Z')).to.deep.equal([0, 1]);
    expect(await between('createdFrom=2025-05-03T02:00:00%2B02:00')).to.deep.equal([4]);
    expect(await between('createdTo=2025-05-01T19:00:00-05:00')).to.deep.equal([0, 1]);
    expect(await between('createdFrom=2026-01-01&createdTo=2025-01-01'), 'upside down').to.deep.equal([]);
  });

  it('refuses what it does not understand, all at once', async () => {
    const me = await newUser();
    const cases: [string, string[]][] = [
      ['limit=0', ['limit']],
      ['limit=101', ['limit']],
      ['limit=-1', ['limit']],
      ['limit=ten', ['limit']],
      ['limit=1e1', ['limit']],
      ['limit=0x10', ['limit']],
      ['limit=', ['limit']],
      ['limit=1&limit=2', ['limit']],
      ['limit=99999999999999999999', ['limit']],
      ['cursor=', ['cursor']],
      ['cursor=nonsense', ['cursor']],
      [`cursor=${Buffer.from(`1.${'-'.repeat(36)}`).toString('base64url')}`, ['cursor']],
      [`cursor=${Buffer.from(`999999999999999999.${randomUUID()}`).toString('base64url')}`, ['cursor']],
      ['createdFrom=yesterday', ['createdFrom']],
      ['createdFrom=2025-13-01', ['createdFrom']],
      ['createdFrom=2025-02-30', ['createdFrom']],
      ['createdTo=2025-01-01T00:00:00', ['createdTo']],
      ['createdTo=2025-01-01T25:00:00Z', ['createdTo']],
      ['createdTo=1735689600', ['createdTo']],
      ['createdTo=', ['createdTo']],
      ['status=done', ['status.0']],
      ['status=', ['status.0']],
      ['status=pending,done', ['status.1']],
      ['page=2', ['']],
      ['__proto__=1', ['']],
      ['constructor=1', ['']],
      [
        'limit=0&cursor=%00&createdFrom=a&createdTo=b&status=c&page=d',
        ['', 'createdFrom', 'createdTo', 'cursor', 'limit', 'status.0'],
      ],
    ];
    for (const [query, paths] of cases) {
      const { status, body } = await me.api.call('GET', `/v1/tickets?${query}`);
      expect([status, body.code], query).to.deep.equal([422, 'invalid-request']);
      expect(body.errors.map(({ path }: Json) => path).sort(), query).to.deep.equal(paths);
    }
  });

  it('takes a cursor of somebody else as a place in the own list, and no more', async () => {
    const [me, other] = [await newUser(), await newUser()];
    await insert(other.id, ['2025-01-03T00:00:00Z', '2025-01-01T00:00:00Z']);
    const mine = await insert(me.id, ['2025-01-02T00:00:00Z', '2025-01-04T00:00:00Z']);
    const { nextCursor } = await list(other.api, 'limit=1');
    expect((await list(me.api, `cursor=${nextCursor}`)).items.map(({ id }) => id)).to.deep.equal([mine[0]]);
  });

  describe('of a user with 50,000 tickets', () => {
    let userId: string;
    before(async () => {
      userId = (await newUser()).id;
      const other = (await newUser()).id;
      // Most are completed, as in real life; every 500th is pending.
      await gateway.db.raw(
        `INSERT INTO tickets (id, user_id, expected, claimed, received, stored, completed_at, created_at, expires_at)
         SELECT gen_random_uuid(), CASE WHEN n % 10 = 0 THEN ?::uuid ELSE ?::uuid END, 1, done, done, done,
                CASE WHEN done = 1 THEN now() END, now() - n * interval '1 second', now() + interval '1 day'
         FROM generate_series(1, 55000) n, LATERAL (SELECT CASE WHEN n % 500 = 1 THEN 0 ELSE 1 END AS done)`,
        [other, userId],
      );
      await gateway.db.raw('ANALYZE tickets');
    });

    const cursor = Buffer.from(`${Date.now() - 20_000_000}.${randomUUID()}`).toString('base64url');
    for (const query of [
      {},
      { limit: '100', cursor },
      { status: 'pending' },
      { status: 'completed', cursor },
      { status: ['pending', 'completed', 'processing'], limit: '100' },
      { status: ['pending', 'completed'], cursor },
      { createdFrom: '2020-01-01', createdTo: '2100-01-01' },
      { createdTo: new Date(Date.now() - 40_000_000).toISOString(), status: 'completed' },
    ]) {
      it(`walks an index for ${JSON.stringify({ ...query, ...('cursor' in query ? { cursor: '…' } : {}) })}`, async () => {
        const statements: { sql: string; bindings: readonly unknown[] }[] = [];
        const note = ({ sql, bindings }: { sql: string; bindings: readonly unknown[] }) =>
          statements.push({ sql, bindings });
        gateway.db.on('query', note);
        await listTickets(gateway.db, userId, TicketQuery.parse(query));
        gateway.db.off('query', note);
        expect(statements).to.have.length(1);
        const [{ sql, bindings } = { sql: '', bindings: [] }] = statements;
        const { rows } = await explain(sql, bindings);
        const nodes = flatten(rows[0]['QUERY PLAN'][0].Plan);
        const shown = JSON.stringify(rows[0]['QUERY PLAN'], null, 1);
        expect(
          nodes.map((node) => node['Node Type']),
          shown,
        ).to.not.include('Seq Scan');
        for (const node of nodes) {
          if (node['Node Type'].includes('Sort')) expect(node['Actual Rows'], shown).to.be.at.most(303);
          if (node['Node Type'].includes('Index')) expect(node['Actual Rows'], shown).to.be.at.most(101);
          expect(node['Rows Removed by Filter'] ?? 0, shown).to.be.at.most(101);
        }
      });
    }
    it('is not tempted by indexes over all users, along which the tickets of one who left lie behind all others', async () => {
      const statements: { sql: string; bindings: readonly unknown[] }[] = [];
      const note = (statement: { sql: string; bindings: readonly unknown[] }) => statements.push(statement);
      gateway.db.on('query', note);
      for (const status of [undefined, 'completed', 'pending'])
        await listTickets(gateway.db, userId, TicketQuery.parse({ status }));
      gateway.db.off('query', note);
      const client = new pg.Client({ connectionString: gateway.config.DATABASE_URL });
      await client.connect();
      try {
        // With these it depends on statistics which index looks best.
        await client.query('BEGIN; DROP INDEX tickets_by_user, tickets_by_status');
        for (const { sql, bindings } of statements) {
          const { rows } = await client.query(`EXPLAIN ${sql}`, [...bindings]);
          const plan = rows.map((row) => row['QUERY PLAN']).join('\n');
          expect(plan)
            .to.include('Sort')
            .and.not.match(/tickets_by_time|tickets_expiring/);
        }
      } finally {
        await client.query('ROLLBACK');
        await client.end();
      }
    });

    /** The plan of a statement as the driver got it, with `$1` for what is bound. */
    const explain = async (sql: string, bindings: readonly unknown[]): Promise<Json> => {
      const client = new pg.Client({ connectionString: gateway.config.DATABASE_URL });
      await client.connect();
      try {
        return await client.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`, [...bindings]);
      } finally {
        await client.end();
      }
    };
  });
});

function flatten(node: Json): Json[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}
