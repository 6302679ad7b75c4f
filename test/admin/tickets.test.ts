import { writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import { listAllTickets } from '../../src/admin/operations/tickets.ts';
import { findCaller, issueToken } from '../../src/identity/tokens.ts';
import { claimPlaces } from '../../src/ledger/claim-slots.ts';
import { openStaging } from '../../src/staging/local/folder.ts';
import { TicketQuery } from '../../src/tickets/list.ts';
import { WATCH_AFTER_EXPIRY_MS } from '../../src/tickets/open.ts';
import { enqueueTransfers } from '../../src/transfers/pgboss-sql.ts';
import { type Json, until } from '../support/client.ts';
import { type Desk, listen, openDesk } from './desk.ts';

const nowhere = '0197f0c6-0000-7000-8000-000000000000';

describe('hopla admin tickets', () => {
  let desk: Desk;
  beforeEach(async () => {
    desk = await openDesk();
  });
  afterEach(() => desk.close());

  const update = async (id: string, ...args: string[]) => desk.admin(['tickets', 'update', id, ...args, '--json']);

  /** Runs a change and gives back the ticket row before and after, with what was announced of it. */
  async function watched(id: string, change: () => Promise<unknown>) {
    const ear = await listen(desk.environment.DATABASE_URL);
    try {
      const before = await desk.row('tickets', id);
      await change();
      const after = await desk.row('tickets', id);
      const announced = await ear.ticket('the change is announced', ({ version }) => version === after.version);
      return { before, after, announced };
    } finally {
      await ear.close();
    }
  }

  describe('list', () => {
    it('lists the tickets of all users, newest first, page by page', async () => {
      const ids: string[] = [];
      for (const username of ['anna', 'ben', 'carl']) ids.unshift((await desk.ticket(2, { username })).id);
      // Of the same moment: the id decides.
      await desk.db('tickets').update({ created_at: '2026-01-01T00:00:00Z' });
      const first = await desk.admin(['tickets', 'list', '--limit', '2', '--json']);
      expect(first.json.items.map(({ id }: Json) => id)).to.deep.equal(ids.slice(0, 2));
      expect(first.json.items.map(({ username }: Json) => username)).to.deep.equal(['carl', 'ben']);
      const next = ['--cursor', first.json.nextCursor];
      const second = await desk.admin(['tickets', 'list', '--limit', '2', '--json', ...next]);
      expect(second.json.items.map(({ id }: Json) => id)).to.deep.equal([ids[2]]);
      expect(second.json.nextCursor).to.equal(null);
      const own = await desk.admin(['tickets', 'list', '--user', 'BEN', '--json']);
      expect(own.json.items.map(({ id }: Json) => id)).to.deep.equal([ids[1]]);
    });

    it('finds tickets by status and by day', async () => {
      const [pending, uploading, completed] = [await desk.ticket(1), await desk.ticket(2), await desk.ticket(1)];
      await desk.image(uploading.id, 'uploading');
      await desk.image(completed.id, 'stored');
      for (const [index, { id }] of [pending, uploading, completed].entries()) {
        await desk
          .db('tickets')
          .where({ id })
          .update({ created_at: `2026-03-0${index + 1}T23:59:59.999Z` });
      }
      const find = async (...args: string[]) =>
        (await desk.admin(['tickets', 'list', '--json', ...args])).json.items.map(({ id }: Json) => id);
      expect(await find('--status', 'completed')).to.deep.equal([completed.id]);
      expect(await find('--status', 'pending,completed')).to.deep.equal([completed.id, pending.id]);
      expect(await find('--from', '2026-03-02')).to.deep.equal([completed.id, uploading.id]);
      expect(await find('--to', '2026-03-02')).to.deep.equal([uploading.id, pending.id]);
      expect(await find('--from', '2026-03-02', '--to', '2026-03-02')).to.deep.equal([uploading.id]);
      expect(await find('--to', '2026-03-02T23:59:59Z')).to.deep.equal([pending.id]);
      expect(await find('--status', 'expired')).to.deep.equal([]);
    });

    it('looks tickets up by an index, however many there are', async () => {
      for (let users = 0; users < 20; users++) await desk.ticket(1);
      await desk.db.raw(`INSERT INTO tickets (id, user_id, expected, expired, expires_at, created_at)
        SELECT gen_random_uuid(), users.id, 1, n % 100 > 0, now(), now() - n * interval '1 second' FROM users, generate_series(1, 500) n`);
      await desk.db.raw('ANALYZE tickets, users');
      const client = await desk.db.client.acquireRawConnection();
      const asked: { sql: string; bindings: unknown[] }[] = [];
      desk.db.on('query', (query) => asked.push(query));
      for (const status of [undefined, ['pending', 'expired'] as const]) {
        asked.length = 0;
        await listAllTickets(desk.db, TicketQuery.parse({ status: status?.join() }));
        const [{ sql, bindings }] = asked as [{ sql: string; bindings: unknown[] }];
        const { rows } = await client.query(`EXPLAIN ${sql}`, bindings);
        const plan = rows.map((row: Json) => row['QUERY PLAN']).join('\n');
        expect(plan)
          .to.include(status ? 'tickets_by_status_time' : 'tickets_by_time')
          .and.not.include('Seq Scan on tickets');
      }
      await client.end();
    });
  });

  describe('show', () => {
    it('shows a ticket with its images as the API does, and whose it is', async () => {
      const ticket = await desk.ticket(3, { description: 'Holiday', username: 'anna' });
      const stored = await desk.image(ticket.id, 'stored');
      const failed = await desk.image(ticket.id, 'failed');
      const { json } = await desk.admin(['tickets', 'show', ticket.id.toUpperCase(), '--json']);
      expect(json).to.deep.include({ id: ticket.id, username: 'anna', status: 'uploading', description: 'Holiday' });
      expect(json.counts).to.deep.equal({ expected: 3, uploading: 0, received: 0, stored: 1, failed: 1 });
      expect(json.images.map(({ id, status }: Json) => [id, status])).to.deep.equal([
        [stored.id, 'stored'],
        [failed.id, 'failed'],
      ]);
      expect(json.images[1].error).to.deep.equal({ code: 'storage-mismatch', message: 'no' });

      const { stdout } = await desk.admin(['tickets', 'show', ticket.id]);
      expect(stdout).to.match(/^images +1 of 3 stored; 0 uploading, 0 received, 1 failed$/m);
      expect(stdout).to.match(new RegExp(`^${failed.id} +failed +10 B +7 .*storage-mismatch: no$`, 'm'));
    });

    it('says that there is no such ticket', async () => {
      for (const [command, ...more] of [
        ['show'],
        ['update', '--images', '1'],
        ['expire', '--yes'],
        ['delete', '--yes'],
      ]) {
        for (const id of [nowhere, 'nonsense']) {
          const { code, stdout, stderr } = await desk.admin(['tickets', String(command), id, ...more]);
          expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
          expect(stderr).to.equal(
            `error: ticket-not-found: There is no ticket ${id}; \`tickets list\` shows their full ids.\n`,
          );
        }
      }
    });
  });

  describe('update', () => {
    it('changes what is named, leaves the rest, and tells whoever watches', async () => {
      const { id } = await desk.ticket(3, { description: 'before' });
      const first = await watched(id, () => update(id, '--description', 'after', '--metadata', '{"album": 7}'));
      expect(first.after).to.deep.include({ description: 'after', metadata: { album: 7 }, expected: 3 });
      expect(first.after.version).to.equal(first.before.version + 1);
      expect(first.after.updated_at).to.be.above(first.before.updated_at);
      expect(first.announced).to.deep.include({ id, description: 'after', metadata: { album: 7 } });

      const second = await watched(id, () => update(id, '--description', '', '--metadata', 'null'));
      expect(second.after).to.deep.include({ description: null, metadata: null });
      const { rows } = await desk.db.raw('SELECT metadata IS NULL AS none FROM tickets WHERE id = ?', [id]);
      expect(rows).to.deep.equal([{ none: true }]);
      expect(second.after.expires_at).to.deep.equal(first.before.expires_at);
    });

    it('completes a ticket whose number of images is lowered to the stored ones', async () => {
      const { id } = await desk.ticket(5);
      for (let count = 0; count < 2; count++) await desk.image(id, 'stored');
      const { after, announced } = await watched(id, () => update(id, '--images', '2'));
      expect(after).to.include({ expected: 2, status: 'completed' });
      expect(after.completed_at).to.be.a('date');
      expect(announced).to.include({ status: 'completed' });
    });

    it('opens a completed ticket again when the number is raised, and completes it once more', async () => {
      const { id } = await desk.ticket(1);
      await desk.image(id, 'stored');
      const { before, after } = await watched(id, () => update(id, '--images', '2'));
      expect([before.status, after.status, after.completed_at]).to.deep.equal(['completed', 'uploading', null]);
      await desk.image(id, 'stored');
      expect(await desk.row('tickets', id)).to.include({ status: 'completed', stored: 2 });
    });

    it('keeps every place that is taken', async () => {
      const { id } = await desk.ticket(4);
      await desk.image(id, 'stored');
      await desk.image(id, 'uploading');
      const before = await desk.row('tickets', id);
      const { code, stderr } = await update(id, '--images', '1');
      expect(code).to.equal(1);
      expect(stderr).to.match(/^error: invalid-request: 2 places of this ticket are taken/);
      expect(await desk.row('tickets', id)).to.deep.equal(before);
      expect((await update(id, '--images', '2')).json.status).to.equal('uploading');
    });

    it('opens an expired ticket again with a new expiry, and its upload tokens live on with it', async () => {
      const ticket = await desk.ticket(2);
      const { id, userId } = ticket;
      const followsUntil = new Date(ticket.expiresAt.getTime() + WATCH_AFTER_EXPIRY_MS);
      const following = await issueToken(desk.db, { userId, ticketId: id, expiresAt: followsUntil });
      const own = await issueToken(desk.db, { userId, ticketId: id, expiresAt: new Date(Date.now() + 60_000) });
      await desk.image(id, 'uploading');
      await desk.admin(['tickets', 'expire', id, '--yes']);
      expect(await desk.row('tickets', id)).to.include({ status: 'expired', claimed: 0 });

      const { after, announced } = await watched(id, () => update(id, '--expires-in', '864000'));
      expect(after).to.include({ status: 'pending', expired: false });
      expect(announced).to.include({ expired: false });
      expect(after.expires_at.getTime()).to.be.closeTo(Date.now() + 864_000_000, 5_000);
      expect((await desk.row('tokens', following.id)).expires_at.getTime()).to.equal(
        after.expires_at.getTime() + WATCH_AFTER_EXPIRY_MS,
      );
      expect((await desk.row('tokens', own.id)).expires_at).to.deep.equal(own.expiresAt);
      expect(await findCaller(desk.db, following.token)).not.to.equal(null);
      expect((await desk.image(id, 'uploading')).status).to.equal('uploading');
    });

    it('takes an expiry as a time, too', async () => {
      const { id } = await desk.ticket(1);
      const time = new Date(Date.now() + 7_200_000);
      expect((await update(id, '--expires-at', time.toISOString())).json.expiresAt).to.equal(time.toISOString());
    });

    it('refuses an expiry in the past or in another age', async () => {
      const { id } = await desk.ticket(1);
      const before = await desk.row('tickets', id);
      for (const time of ['2020-01-01T00:00:00Z', '2222-01-01T00:00:00Z']) {
        const { code, stderr } = await update(id, '--expires-at', time);
        expect(code).to.equal(1);
        expect(stderr).to.match(/^error: invalid-request: A new expiry must lie /);
      }
      expect(await desk.row('tickets', id)).to.deep.equal(before);
    });

    it('raises the number of a ticket that ran out of time only with time to use it', async () => {
      const { id } = await desk.ticket(1);
      await desk.image(id, 'stored');
      await desk
        .db('tickets')
        .where({ id })
        .update({ expires_at: new Date(Date.now() - 1) });
      const refused = await update(id, '--images', '2');
      expect(refused.stderr).to.match(/^error: invalid-request: The time of this ticket has run out/);
      expect(await desk.row('tickets', id)).to.include({ status: 'completed', expected: 1 });
      const extended = await update(id, '--images', '2', '--expires-in', '600');
      expect(extended.json).to.include({ status: 'uploading', completedAt: null });
      expect((await desk.image(id, 'uploading')).status).to.equal('uploading');
    });

    it('completes an expired ticket that is content with what it has', async () => {
      const { id } = await desk.ticket(3);
      await desk.image(id, 'stored');
      await desk.admin(['tickets', 'expire', id, '--yes']);
      expect((await update(id, '--images', '1')).json.status).to.equal('completed');
    });

    it('holds metadata and description to the limits of the API', async () => {
      const { id } = await desk.ticket(1);
      const refused = [
        ['--description', 'x'.repeat(256)],
        ['--metadata', '[1]'],
        ['--metadata', JSON.stringify({ long: 'x'.repeat(5000) })],
      ];
      for (const args of refused) {
        const { code, stderr } = await update(id, ...args);
        expect(code).to.equal(1);
        expect(stderr).to.match(/^error: invalid-request: (description|metadata): /);
      }
    });

    it('wants to hear what to change, once', async () => {
      const { id } = await desk.ticket(1);
      for (const args of [[], ['--expires-in', '60', '--expires-at', '2030-01-01T00:00:00Z']]) {
        expect((await update(id, ...args)).code).to.equal(2);
      }
    });

    it('sees a place that is taken at the same moment', async () => {
      const { id } = await desk.ticket(3);
      await desk.image(id, 'uploading');
      const claim = await desk.db.transaction();
      await claim.raw('UPDATE tickets SET claimed = claimed + 1 WHERE id = ?', [id]);
      const lowering = update(id, '--images', '1');
      await until('the change waits for the claim', async () => {
        const { rows } = await desk.db.raw(`SELECT FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'hopla admin' AND wait_event_type = 'Lock'`);
        return rows.length > 0;
      });
      await claim.commit();
      expect((await lowering).stderr).to.match(/^error: invalid-request: 2 places of this ticket are taken/);
      expect(await desk.row('tickets', id)).to.include({ expected: 3, claimed: 2 });
    });

    it('gives out exactly the places there are when the number changes among racing claims', async () => {
      const { id } = await desk.ticket(8);
      const claims = Array.from({ length: 16 }, () =>
        desk.image(id, 'uploading').then(
          () => true,
          () => false,
        ),
      );
      const [lowered] = await Promise.all([update(id, '--images', '4'), ...claims]);
      const taken = (await Promise.all(claims)).filter(Boolean).length;
      const row = await desk.row('tickets', id);
      expect(row.claimed).to.equal(taken);
      expect(row.expected).to.equal(lowered.code === 0 ? 4 : 8);
      expect(taken).to.equal(row.expected);
    });
  });

  describe('expire', () => {
    it('closes a ticket after a yes: uploads end with their files, what was received stays', async () => {
      const staging = await openStaging({ directory: `${desk.directory}/staging`, budgetBytes: 1e9, freeBytes: 0 });
      const { id } = await desk.ticket(3, { username: 'anna' });
      const uploading = await desk.image(id, 'uploading', { staging: staging.id });
      const received = await desk.image(id, 'received', { staging: staging.id });
      for (const image of [uploading, received]) await writeFile(staging.pathOf(image.id), 'bytes');

      const declined = await desk.admin(['tickets', 'expire', id], { columns: 80, input: ['no\n'] });
      expect(declined.code).to.equal(1);
      expect(declined.stderr).to.include(`Close ticket ${id} of anna? 1 running uploads end.`);
      expect(await desk.row('tickets', id)).to.include({ status: 'uploading' });

      const closing = () => desk.admin(['tickets', 'expire', id, '--json'], { columns: 80, input: ['yes\n'] });
      const { before, after } = await watched(id, closing);
      expect(after).to.include({ status: 'expired', claimed: 1, received: 1 });
      expect(after.version).to.be.above(before.version);
      expect(await staging.sizeOf(uploading.id)).to.equal(null);
      expect(await staging.sizeOf(received.id)).to.equal(5);
      expect(await desk.row('images', uploading.id)).to.include({ status: 'expired' });
      expect(await desk.row('images', received.id)).to.include({ status: 'received' });
      const place = { ...{ slot: null, size: 1, filename: null, uploadMetadata: null, expectedSha256: null } };
      const request = { ...place, ticketId: id, imageId: nowhere, staging: staging.id, holder: null, facts: null };
      expect(await claimPlaces(desk.db, [request], enqueueTransfers)).to.deep.equal([]);
    });

    it('has nothing to do for a ticket that is complete or closed', async () => {
      const { id } = await desk.ticket(1);
      await desk.image(id, 'stored');
      const before = await desk.row('tickets', id);
      const { code, json } = await desk.admin(['tickets', 'expire', id, '--yes', '--json']);
      expect(code).to.equal(0);
      expect(json).to.deep.include({ status: 'completed', changed: false, endedUploads: [] });
      expect(await desk.row('tickets', id)).to.deep.equal(before);
    });
  });
});
