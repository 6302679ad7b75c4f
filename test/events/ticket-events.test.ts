import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect } from 'chai';
import pg from 'pg';
import { issueToken, revokeToken } from '../../src/identity/tokens.ts';
import { expireTicket } from '../../src/ledger/expire.ts';
import { open } from '../http/raw.ts';
import { createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg, png } from '../support/images.ts';
import { type Heard, listenTo, rebuild } from './listener.ts';

describe('the events of a ticket', () => {
  const { gateway, api } = useGateway();

  const begin = async (ticket: Json, lastEventId?: string) => {
    const listener = await listenTo(ticket.eventsUrl, ticket.uploadToken, lastEventId);
    expect(listener.status).to.equal(200);
    return listener;
  };
  /** Listens as every gateway does; gives what was announced until it is asked. */
  const overhear = async () => {
    const client = new pg.Client({ connectionString: gateway.config.DATABASE_URL });
    const payloads: string[] = [];
    client.on('notification', ({ payload = '' }) => payloads.push(payload));
    await client.connect();
    await client.query('LISTEN hopla_changes');
    return async () => {
      await client.end();
      return payloads;
    };
  };
  /** Creates an upload without any of its bytes. */
  const claim = async (ticket: Json): Promise<string> => {
    const headers = { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' };
    const answer = await api.call('POST', `/v1/tickets/${ticket.id}/uploads`, { headers });
    expect(answer.status).to.equal(201);
    return answer.headers.get('Location') ?? '';
  };

  it('begin with the headers of a stream, the time to retry, and a snapshot', async () => {
    const ticket = await api.openTicket(2, { description: 'x' });
    await claim(ticket);
    const detail = await api.ticket(ticket.id);
    for (const token of [api.token, ticket.uploadToken]) {
      const listener = await listenTo(ticket.eventsUrl, token);
      await until('a snapshot', () => listener.events.length > 0);
      expect(listener.status).to.equal(200);
      expect(listener.headers).to.include({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
        'access-control-allow-origin': '*',
      });
      expect(listener.headers['x-request-id']).to.be.a('string');
      expect(listener.retry).to.equal('2000');
      const [first] = listener.events;
      expect([first?.event, first?.id]).to.deep.equal(['snapshot', 2]);
      expect(first?.data).to.deep.equal(detail);
      listener.leave();
    }
  });

  it('tell the whole way of an image in order, then end', async () => {
    const ticket = await api.openTicket(1);
    const listener = await begin(ticket);
    await tusUpload(jpeg({ bytes: 400_000 }), { ...tusOptions(ticket), chunkSize: 64 * 1024 });
    await listener.ended;
    const told = listener.events.filter(({ event }) => event !== 'progress');
    expect(told.map(({ event, data }) => `${event} ${data.status}`)).to.deep.equal([
      'snapshot pending',
      'image uploading',
      'ticket uploading',
      'image received',
      'ticket processing',
      'image transferring',
      'ticket processing',
      'image stored',
      'ticket completed',
      'end completed',
    ]);
    expect(told.map(({ rawId }) => rawId)).to.deep.equal(['1', '2', '2', '3', '3', '4', '4', '5', '5', '5-end']);
    for (const { event, id, data } of told) {
      if (event === 'ticket') expect(data.version).to.equal(id);
      if (event !== 'snapshot') expect(data.ticketId).to.equal(ticket.id);
    }
    expect(rebuild(listener.events)).to.deep.equal(await api.ticket(ticket.id));
    expectProgress(listener.events);
  });

  /** Progress grows, stays within its image, and is told between the events that begin and end its leg. */
  function expectProgress(events: readonly Heard[]): void {
    const legOf: Record<string, string[]> = {
      uploading: ['upload'],
      received: ['transfer'],
      transferring: ['transfer'],
    };
    let legs: string[] = [];
    const reached: Record<string, number> = {};
    for (const { event, id, data } of events) {
      if (event === 'image') legs = legOf[data.status] ?? [];
      if (event !== 'progress') continue;
      expect(id).to.equal(null);
      expect(data).to.have.keys('ticketId', 'imageId', 'leg', 'bytes', 'total');
      expect(legs).to.include(data.leg);
      expect(data.bytes).to.be.within(reached[data.leg] ?? 0, data.total);
      reached[data.leg] = data.bytes;
    }
  }

  describe('after Last-Event-ID', () => {
    it('leave the snapshot out when it is the current version, and go on from there', async () => {
      const ticket = await api.openTicket(2);
      const listener = await begin(ticket, '1');
      await claim(ticket);
      await until('an event', () => listener.events.length > 1);
      expect(listener.events.map(({ event, id }) => [event, id])).to.deep.equal([
        ['image', 2],
        ['ticket', 2],
      ]);
      listener.leave();
    });

    it('begin with a snapshot when it is another version, or no version', async () => {
      const ticket = await api.openTicket(2);
      await claim(ticket);
      for (const id of ['1', '3', '0', '-1', '2.0', '02x', 'garbage', '', '99999999999999999999', '2, 2']) {
        const listener = await begin(ticket, id);
        await until('a snapshot', () => listener.events.length > 0);
        expect(
          listener.events.map(({ event }) => event),
          id,
        ).to.deep.equal(['snapshot']);
        listener.leave();
      }
    });
  });

  it('of a completed ticket are a snapshot and the end, or the end alone', async () => {
    const ticket = await api.openTicket(1);
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    const { version } = await untilCompleted(api, ticket.id);
    const [fresh, knowing] = [await begin(ticket), await begin(ticket, `${version}`)];
    await Promise.all([fresh.ended, knowing.ended]);
    expect(fresh.events.map(({ event }) => event)).to.deep.equal(['snapshot', 'end']);
    expect(knowing.events.map(({ event, data }) => [event, data])).to.deep.equal([
      ['end', { ticketId: ticket.id, status: 'completed' }],
    ]);
  });

  it('are 204 for who has heard the end, as nothing else keeps an EventSource from coming back', async () => {
    const ticket = await api.openTicket(1);
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    await untilCompleted(api, ticket.id);
    const listener = await begin(ticket);
    await listener.ended;
    const end = listener.events.at(-1)?.rawId ?? '';
    const again = (token: string, id: string) => listenTo(ticket.eventsUrl, token, id);
    expect((await again(ticket.uploadToken, end)).status).to.equal(204);
    const stranger = (await gateway.createUser()).token;
    expect((await again(stranger, end)).status, 'not for a stranger').to.equal(404);
    for (const id of ['4-end', `${end}-end`, 'x-end', '-end']) {
      const fresh = await again(ticket.uploadToken, id);
      await fresh.ended;
      expect(
        fresh.events.map(({ event }) => event),
        id,
      ).to.deep.equal(['snapshot', 'end']);
    }
    const running = await api.openTicket(1);
    const early = await begin(running, '1-end');
    await until('a snapshot', () => early.events.length > 0);
    early.leave();
  });

  it('have no block without data: neither the time to retry nor a heartbeat is one', async () => {
    const ticket = await api.openTicket(2);
    for (const last of ['', 'Last-Event-ID: 1\r\n']) {
      const socket = open(gateway.url);
      let text = '';
      socket.on('data', (piece) => {
        text += piece;
      });
      socket.write(
        `GET ${new URL(ticket.eventsUrl).pathname} HTTP/1.0\r\n${last}Authorization: Bearer ${ticket.uploadToken}\r\n\r\n`,
      );
      await until('the beginning', () => text.includes('retry: 2000\n'));
      await gateway
        .db('tickets')
        .where({ id: ticket.id })
        .select(gateway.db.raw('announce(to_jsonb(tickets) || \'{"version": 99}\', NULL)'));
      await until('an event', () => text.includes('event: ticket'));
      const [, body = ''] = text.split('\r\n\r\n');
      const blocks = body.split('\n\n').slice(0, -1);
      for (const block of blocks) expect(block).to.match(/^data: ./m);
      expect(blocks[0]).to.match(/^retry: 2000\n/);
      socket.destroy();
    }
  });

  it('of a ticket that runs out tell of every upload that ends with it, then end', async () => {
    const ticket = await api.openTicket(5);
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    await until('one is stored', async () => (await api.ticket(ticket.id)).counts.stored === 1);
    for (let n = 0; n < 3; n++) await claim(ticket);
    const listener = await begin(ticket);
    await until('a snapshot', () => listener.events.length > 0);
    await expireTicket(gateway.db, ticket.id);
    await listener.ended;
    expect(listener.events.map(({ event, data }) => `${event} ${data.status}`)).to.deep.equal([
      'snapshot uploading',
      'ticket expired',
      ...Array(3).fill(['image expired', 'ticket expired']).flat(),
      'end expired',
    ]);
    expect(rebuild(listener.events)).to.deep.equal(await api.ticket(ticket.id));
    const later = await begin(ticket);
    await later.ended;
    expect(later.events.map(({ event }) => event)).to.deep.equal(['snapshot', 'end']);
  });

  it('of an expired ticket go on until what was received is stored', async () => {
    const stop = gateway.cloudinary.faults.add({ fault: { kind: 'status', status: 503 } });
    const ticket = await api.openTicket(2);
    await tusUpload(png({ bytes: 1500, seed: 77 }), tusOptions(ticket));
    await expireTicket(gateway.db, ticket.id);
    const listener = await begin(ticket);
    await until('a snapshot', () => listener.events.length > 0);
    expect(listener.events[0]?.data.status).to.equal('expired');
    stop();
    await listener.ended;
    expect(listener.events.at(-1)?.event).to.equal('end');
    expect(rebuild(listener.events)).to.deep.equal(await api.ticket(ticket.id));
    expect((await api.ticket(ticket.id)).counts).to.include({ received: 0, stored: 1 });
  });

  it('tell why an image was rejected', async () => {
    const ticket = await api.openTicket(1);
    const listener = await begin(ticket);
    await tusUpload(Buffer.from('this is no photo '.repeat(100)), tusOptions(ticket)).catch(() => {});
    const rejected = await until('the rejection', () =>
      listener.named('image').find(({ data }) => data.status === 'rejected'),
    );
    expect(rejected.data.error).to.have.keys('code', 'message').and.include({ code: 'unsupported-image' });
    await until('the ticket after it', () => listener.named('ticket').length === 2);
    expect(rebuild(listener.events)).to.deep.equal(await api.ticket(ticket.id));
    expect(rebuild(listener.events)).to.include({ status: 'pending' });
    listener.leave();
  });

  it('are complete where they do not fit into one notification of Postgres', async () => {
    // Postgres writes a blank behind every comma.
    const metadata = { list: Array(900).fill(1), text: '"'.repeat(1100) };
    const ticket = await api.openTicket(8, { metadata, description: '€'.repeat(255) });
    const payloads = await overhear();
    const listener = await begin(ticket);
    const everything = await listenTo(`${gateway.url}/v1/events`, api.token);
    await Promise.all(
      Array.from({ length: 8 }, (_, n) => {
        // Every other one fits: those must not overtake the others.
        const filename = n % 2 ? 'short.png' : '😀'.repeat(255);
        return tusUpload(png({ bytes: 1500, seed: n }), {
          ...tusOptions(ticket),
          metadata: { filename, slot: `${'€'.repeat(50)}-${n}` },
        });
      }),
    );
    await listener.ended;
    const detail = await api.ticket(ticket.id);
    expect(detail.metadata).to.deep.equal(metadata);
    expect(rebuild(listener.events)).to.deep.equal(detail);
    const ids = listener.events.flatMap(({ id }) => (id === null ? [] : [id]));
    expect(ids).to.deep.equal([...ids].sort((a, b) => a - b));
    expect(new Set(ids).size, 'no version is missing').to.equal(detail.version);
    await until(
      'the same on the stream of the user',
      () => everything.named('ticket').at(-1)?.data.status === 'completed',
    );
    expect(rebuild(everything.events)).to.deep.equal(detail);
    everything.leave();
    const announced = await payloads();
    expect(
      announced.filter((text) => !text.includes('"metadata"')),
      'too long for it',
    ).to.not.be.empty;
    expect(
      announced.filter((text) => text.includes('"metadata"')),
      'short enough',
    ).to.not.be.empty;
  });

  it('show where an upload stands when its length becomes known', async () => {
    const ticket = await api.openTicket(1);
    const photo = png({ bytes: 3000 });
    const tus = { 'Tus-Resumable': '1.0.0' };
    const created = await api.call('POST', `/v1/tickets/${ticket.id}/uploads`, {
      headers: { ...tus, 'Upload-Defer-Length': '1' },
    });
    const patch = (from: number, to: number, headers: Record<string, string> = {}) =>
      api.call('PATCH', created.headers.get('Location') ?? '', {
        body: photo.subarray(from, to),
        headers: { ...tus, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': `${from}`, ...headers },
      });
    expect((await patch(0, 1000)).status).to.equal(204);
    const listener = await begin(ticket);
    await until('a snapshot', () => listener.events.length > 0);
    expect(listener.events[0]?.data.images[0]).to.include({ offset: 1000, size: null });
    expect((await patch(1000, 2000, { 'Upload-Length': '3000' })).status).to.equal(204);
    const known = await until('the length', () => listener.named('image').find(({ data }) => data.size === 3000));
    expect(known.data.offset).to.be.within(1000, 2000);
    expect((await patch(2000, 3000)).status).to.equal(204);
    await listener.ended;
    expect(rebuild(listener.events)).to.deep.equal(await api.ticket(ticket.id));
  });

  it('end soon after the token that opened them is revoked, and not for others', async () => {
    const ticket = await api.openTicket(1);
    const { token, id } = await issueToken(gateway.db, { userId: (await owner()).id });
    const listeners = [await listenTo(ticket.eventsUrl, token), await listenTo(`${gateway.url}/v1/events`, token)];
    const other = await begin(ticket);
    await revokeToken(gateway.db, id);
    await Promise.all(listeners.map(({ ended }) => ended));
    expect(other.open).to.equal(true);
    other.leave();
  });

  const owner = async () => gateway.db('users').orderBy('created_at').first('id');

  it('reach curl -N as they come', async function () {
    const ticket = await api.openTicket(1);
    const asked = promisify(execFile)('curl', [
      '-sN',
      '-H',
      `Authorization: Bearer ${ticket.uploadToken}`,
      ticket.eventsUrl,
    ]);
    asked.catch(() => {});
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    await untilCompleted(api, ticket.id);
    try {
      const { stdout } = await asked;
      expect(stdout).to.match(/^retry: 2000\nid: \d+\nevent: snapshot\ndata: \{.*\}\n\n/);
      expect(stdout).to.match(/event: end\ndata: \{.*"completed".*\}\n\n$/);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.skip();
      throw error;
    }
  });

  describe('of all tickets of a user', () => {
    it('name their ticket, need no snapshot and no end, and are nobody else’s', async () => {
      const [one, two] = [await gateway.createUser(), await gateway.createUser()];
      const [mine, theirs] = [createApi(gateway.url, one.token), createApi(gateway.url, two.token)];
      const listener = await listenTo(`${gateway.url}/v1/events`, one.token);
      const tickets = [await mine.openTicket(1), await mine.openTicket(1)];
      const foreign = await theirs.openTicket(1);
      await Promise.all(
        [...tickets, foreign].map((ticket, seed) => tusUpload(png({ bytes: 1500, seed }), tusOptions(ticket))),
      );
      await untilCompleted(theirs, foreign.id);
      const done = () => listener.named('ticket').filter(({ data }) => data.status === 'completed').length === 2;
      await until('both are completed', done);
      expect(new Set(listener.events.map(({ data }) => data.ticketId))).to.deep.equal(
        new Set(tickets.map(({ id }) => id)),
      );
      expect(new Set(listener.events.map(({ event }) => event))).to.satisfy((names: Set<string>) =>
        [...names].every((name) => ['image', 'ticket', 'progress'].includes(name)),
      );
      for (const ticket of tickets) {
        const own = listener.events.filter(({ data }) => data.ticketId === ticket.id);
        expect(rebuild(own)).to.deep.equal(await mine.ticket(ticket.id));
      }
      expect(listener.open).to.equal(true);
      listener.leave();
    });
  });
});
