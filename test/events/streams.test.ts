import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import type { Middleware } from 'koa';
import pino from 'pino';
import { startHub } from '../../src/events/hub.ts';
import { progressRoutes } from '../../src/events/sse/routes.ts';
import type { Hub } from '../../src/events/types.ts';
import { type Gateway, startGateway } from '../../src/gateway.ts';
import { createApp, type State } from '../../src/http/app.ts';
import { listen } from '../../src/http/server.ts';
import { createAuthentication } from '../../src/identity/bearer.ts';
import { createCallers } from '../../src/identity/callers.ts';
import { createDetails } from '../../src/tickets/details.ts';
import { open } from '../http/raw.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg, png } from '../support/images.ts';
import { listenTo, rebuild, type TestListener } from './listener.ts';

const silent = pino({ level: 'silent' });

describe('event streams', () => {
  let gateway: TestGateway;
  let api: Api;
  before(async () => {
    gateway = await startTestGateway();
    const user = await gateway.createUser();
    api = createApi(gateway.url, user.token);
  });
  after(() => gateway.close());

  /** Uploads all images of a ticket, a few at a time. */
  const fill = async (ticket: Json, images: number, onEach: (done: number) => Promise<unknown> = async () => {}) => {
    const numbers = Array.from({ length: images }, (_, n) => n).values();
    const lane = async () => {
      for (const n of numbers) {
        await tusUpload(png({ bytes: 1500, seed: n }), tusOptions(ticket));
        await onEach(n);
      }
    };
    await Promise.all(Array.from({ length: 4 }, lane));
  };
  const expectSame = async (listeners: TestListener[], ticketId: string) => {
    await Promise.all(listeners.map(({ ended }) => ended));
    const detail = await api.ticket(ticketId);
    for (const { events } of listeners) {
      expect(events[0]?.event, 'a snapshot first').to.equal('snapshot');
      expect(events.at(-1)?.event, 'the end last').to.equal('end');
      const ids = events.flatMap(({ id }) => (id === null ? [] : [id]));
      expect(ids, 'versions only grow').to.deep.equal([...ids].sort((a, b) => a - b));
      expect(rebuild(events)).to.deep.equal(detail);
    }
  };

  it('have no gap: whoever joins at whatever moment, while images flow, ends with the truth', async () => {
    const ticket = await api.openTicket(50);
    const joining: Promise<TestListener>[] = [];
    const filling = fill(ticket, 50);
    filling.catch(() => {});
    for (let n = 0; n < 50; n++) {
      joining.push(listenTo(ticket.eventsUrl, n % 2 ? api.token : ticket.uploadToken));
      await delay(Math.random() * 40);
    }
    await filling;
    await untilCompleted(api, ticket.id);
    await expectSame(await Promise.all(joining), ticket.id);
  });

  it('miss nothing when the connection that listens is killed, and those of users end to be opened again', async () => {
    const ticket = await api.openTicket(20);
    const listeners = await Promise.all(Array.from({ length: 5 }, () => listenTo(ticket.eventsUrl, api.token)));
    const everything = await listenTo(`${gateway.url}/v1/events`, api.token);
    let killed = 0;
    await fill(ticket, 20, async (n) => {
      if (n % 7 !== 3) return;
      const { rows } = await gateway.db.raw(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'hopla listener'`,
      );
      killed += rows.length;
    });
    expect(killed).to.be.above(0);
    await untilCompleted(api, ticket.id);
    await expectSame(listeners, ticket.id);
    await everything.ended;
  });

  it('tell progress at most four times a second for an image, and to the last byte', async () => {
    const ticket = await api.openTicket(1);
    const listener = await listenTo(ticket.eventsUrl, api.token);
    const photo = jpeg({ bytes: 2_000_000 });
    const headers = { 'Tus-Resumable': '1.0.0', 'Upload-Length': `${photo.length}` };
    const created = await api.call('POST', `/v1/tickets/${ticket.id}/uploads`, { headers });
    const upload = request(created.headers.get('Location') ?? '', {
      method: 'PATCH',
      headers: {
        Authorization: `Bearer ${api.token}`,
        'Tus-Resumable': '1.0.0',
        'Content-Type': 'application/offset+octet-stream',
        'Upload-Offset': '0',
        'Content-Length': photo.length,
      },
    });
    const answered = once(upload, 'response');
    // A slow client: 80 pieces in about two and a half seconds.
    for (let at = 0; at < photo.length; at += 25_000) {
      upload.write(photo.subarray(at, at + 25_000));
      await delay(30);
    }
    upload.end();
    await answered;
    await listener.ended;
    const told = listener.named('progress').filter(({ data }) => data.leg === 'upload');
    expect(told).to.have.length.within(5, 80);
    for (const [n, { at }] of told.entries()) {
      // Five in a row take a second, less what timers and sockets add and take.
      const fifth = told[n + 4];
      if (fifth) expect(fifth.at - at).to.be.above(850);
    }
    const amounts = told.map(({ data }) => data.bytes);
    expect(amounts).to.deep.equal([...amounts].sort((a, b) => a - b));
    expect(amounts.at(-1)).to.be.above(1_500_000);
    expect(told.every(({ data }) => data.total === photo.length && data.ticketId === ticket.id)).to.equal(true);
    await expectSame([listener], ticket.id);
  });

  it('cut off who does not read, keep little for him, and let others have everything', async () => {
    const ticket = await api.openTicket(1, { metadata: { text: 'x'.repeat(4000) } });
    const reader = await listenTo(ticket.eventsUrl, api.token);
    const path = new URL(ticket.eventsUrl).pathname;
    const sleeper = open(gateway.url);
    sleeper.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token}\r\n\r\n`);
    await once(sleeper, 'readable');
    // About 40 MB, more than all buffers between the two can have.
    const changes = 8_000;
    for (let done = 0; done < changes; done += 400) {
      const { rows } = await gateway.db.raw('UPDATE tickets SET version = version + 400 WHERE id = ? RETURNING *', [
        ticket.id,
      ]);
      await gateway.db.raw(
        `SELECT count(announce(to_jsonb(tickets) || jsonb_build_object('version', ?::int - 400 + n), NULL))
         FROM tickets, generate_series(1, 400) n WHERE id = ?`,
        [rows[0].version, ticket.id],
      );
    }
    await until('the reader has everything', () => reader.named('ticket').length === changes, 25_000);
    let bytes = 0;
    sleeper.on('data', (text) => {
      bytes += text.length;
    });
    await until('the connection of the sleeper ends', () => sleeper.destroyed);
    expect(bytes).to.be.below(20_000_000);
    expect(reader.open).to.equal(true);
    reader.leave();
  });

  it('take no other request on their connection, and leave nothing of it in the stream', async () => {
    const ticket = await api.openTicket(1);
    const head = `Host: x\r\nAuthorization: Bearer ${ticket.uploadToken}\r\n\r\n`;
    for (const more of [`GET /healthz HTTP/1.1\r\n${head}`, 'no request at all\r\n\r\n']) {
      const socket = open(gateway.url);
      let text = '';
      socket.on('data', (piece) => {
        text += piece;
      });
      socket.write(`GET ${new URL(ticket.eventsUrl).pathname} HTTP/1.1\r\n${head}`);
      await until('a snapshot', () => text.includes('event: snapshot'));
      expect(text)
        .to.match(/^HTTP\/1\.1 200 OK\r\n/)
        .and.include('\r\nTransfer-Encoding: chunked\r\n');
      const before = text;
      socket.write(more);
      await until('the connection ends', () => socket.destroyed);
      expect(text).to.equal(before);
    }
  });

  it('are all that is answered to requests that came in one piece with theirs', async () => {
    const ticket = await api.openTicket(2);
    const head = `Host: x\r\nAuthorization: Bearer ${ticket.uploadToken}\r\n\r\n`;
    const socket = open(gateway.url);
    let text = '';
    socket.on('data', (piece) => {
      text += piece;
    });
    const path = new URL(ticket.eventsUrl).pathname;
    socket.write(`GET ${path} HTTP/1.1\r\n${head}GET /healthz HTTP/1.1\r\n${head}`);
    await until('a snapshot', () => text.includes('event: snapshot'));
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    await until('a change', () => text.includes('event: ticket'));
    expect(text.match(/HTTP\/1\.1/g)).to.have.length(1);
    socket.destroy();
  });

  describe('of a gateway whose insides are seen', () => {
    let hub: Hub;
    const requests: WeakRef<object>[] = [];
    let url: string;
    let subscribed = 0;
    const release = new AsyncDisposableStack();
    before(async () => {
      const { db } = gateway;
      hub = await startHub(gateway.config.DATABASE_URL, db, silent);
      release.defer(() => hub.close());
      const watched: Hub = {
        ...hub,
        subscribe(topic, listener) {
          const leave = hub.subscribe(topic, listener);
          subscribed += 1;
          return () => {
            subscribed -= 1;
            leave();
          };
        },
      };
      const events = progressRoutes({
        db,
        hub: watched,
        authenticate: createAuthentication(createCallers(db)),
        baseUrlOf: ({ protocol, host }) => `${protocol}://${host}`,
        details: createDetails(db, () => 0),
        offsetOf: () => 0,
        limits: { perToken: 1_000, perUser: 1_000 },
        log: silent,
        heartbeatMs: 50,
      });
      release.defer(() => events.close(500));
      const remember: Middleware<State> = async (ctx, next) => {
        requests.push(...[ctx.req, ctx.res, ctx.req.socket].map((part) => new WeakRef(part)));
        await next();
      };
      const app = createApp([remember, events.router.routes() as never], {
        log: silent,
        allowedOrigins: ['*'],
        trustProxy: false,
      });
      const server = await listen(app.callback(), { host: '127.0.0.1', port: 0, idleMs: 500 });
      release.defer(() => server.close(500));
      url = server.url;
    });
    after(() => release.disposeAsync());

    it('beat while nothing happens, longer than any idle limit', async () => {
      const ticket = await api.openTicket(1);
      const listeners = [
        await listenTo(`${url}/v1/tickets/${ticket.id}/events`, ticket.uploadToken),
        await listenTo(`${url}/v1/events`, api.token),
      ];
      for (const listener of listeners) {
        await until('30 heartbeats', () => listener.comments > 30);
        expect(listener.open).to.equal(true);
        listener.leave();
      }
      await until('nobody listens', () => subscribed === 0);
    });

    it('keep nothing of the request that opened them', async () => {
      const ticket = await api.openTicket(1);
      const listener = await listenTo(`${url}/v1/tickets/${ticket.id}/events`, ticket.uploadToken);
      await until('a snapshot', () => listener.events.length > 0);
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      await until('request, response and its socket are gone', () => {
        collect();
        return requests.length > 0 && requests.every((part) => part.deref() === undefined);
      });
      expect(listener.open).to.equal(true);
      listener.leave();
      await until('nobody listens', () => subscribed === 0);
    });

    it('are forgotten with their listeners, at whatever moment these leave', async () => {
      const ticket = await api.openTicket(1);
      const { port, hostname } = new URL(url);
      for (let n = 0; n < 200; n++) {
        const path = n % 2 ? '/v1/events' : `/v1/tickets/${ticket.id}/events`;
        const outgoing = request({
          port,
          hostname,
          path,
          headers: { Authorization: `Bearer ${api.token}` },
          agent: false,
        });
        outgoing.on('error', () => {});
        outgoing.end();
        // From before the request arrives to after the snapshot.
        setTimeout(() => outgoing.destroy(), (n % 40) * 2);
        if (n % 20 === 0) await delay(5);
      }
      const last = await listenTo(`${url}/v1/events`, api.token);
      await until('the others are gone', () => subscribed === 1);
      last.leave();
      await until('nobody listens', () => subscribed === 0);
    });
  });

  describe('of two gateways on one database', () => {
    let second: Gateway;
    before(async () => {
      const config = { ...gateway.config, PORT: 0, STAGING_DIR: `${gateway.config.DATA_DIR}/second-staging` };
      second = await startGateway(config, silent);
    });
    after(() => second.close());

    it('show on the one what goes through the other, progress included', async () => {
      const ticket = await api.openTicket(12);
      const there = ticket.eventsUrl.replace(gateway.url, second.url);
      const listeners = [
        await listenTo(there, ticket.uploadToken),
        await listenTo(ticket.eventsUrl, ticket.uploadToken),
      ];
      const everything = await listenTo(`${second.url}/v1/events`, api.token);
      const heardOf = (listener: TestListener) =>
        listener.named('progress').some(({ data }) => data.leg === 'upload' && data.total === 3_000_000);
      let pieces = 0;
      await tusUpload(jpeg({ bytes: 3_000_000 }), {
        ...tusOptions(ticket),
        chunkSize: 1_500_000,
        // Its second half waits: an upload may well be over before it is time to tell of it.
        async onBeforeRequest(request) {
          if (request.getMethod() === 'PATCH' && ++pieces === 2)
            await until('both hear of the upload', () => listeners.every(heardOf));
        },
      });
      await fill(ticket, 5);
      await fill({ ...ticket, uploadUrl: ticket.uploadUrl.replace(gateway.url, second.url) }, 6);
      await untilCompleted(api, ticket.id);
      await Promise.all(listeners.map(({ ended }) => ended));
      const detail = await api.ticket(ticket.id);
      const local = (json: Json) => JSON.parse(JSON.stringify(json).replaceAll(second.url, gateway.url));
      // Its stream has no end to wait for.
      await until('all of it is heard', () => everything.named('ticket').at(-1)?.data.status === 'completed');
      for (const { events } of [...listeners, everything]) expect(local(rebuild(events))).to.deep.equal(detail);
      expect(pieces).to.equal(2);
      everything.leave();
    });
  });

  it('end when the gateway stops, at once', async () => {
    const ticket = await api.openTicket(1);
    const listeners = [
      await listenTo(ticket.eventsUrl, api.token),
      await listenTo(`${gateway.url}/v1/events`, api.token),
    ];
    await until('a snapshot', () => listeners[0]?.events.length);
    const started = performance.now();
    await gateway.stop();
    await Promise.all(listeners.map(({ ended }) => ended));
    expect(performance.now() - started).to.be.below(4_000);
    await gateway.restart();
  });

  it('cannot be started without a database, and leave nothing behind then', async () => {
    const closed = createServer().listen(0);
    await once(closed, 'listening');
    const { port } = closed.address() as AddressInfo;
    closed.close();
    await startHub(`postgres://localhost:${port}/none`, gateway.db, silent).then(
      () => expect.fail('started'),
      (error: NodeJS.ErrnoException) => expect(error.message).to.include('ECONNREFUSED'),
    );
  });
});
