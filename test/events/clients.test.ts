import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { EventSource } from 'eventsource';
import EventSource2 from 'eventsource2';
import type { Middleware } from 'koa';
import pino from 'pino';
import type { Browser, Page } from 'playwright-core';
import { startHub } from '../../src/events/hub.ts';
import { progressRoutes } from '../../src/events/sse/routes.ts';
import { createApp, type State } from '../../src/http/app.ts';
import { listen } from '../../src/http/server.ts';
import { createAuthentication } from '../../src/identity/bearer.ts';
import { createCallers } from '../../src/identity/callers.ts';
import { createDetails } from '../../src/tickets/details.ts';
import { type Api, createApi, tusOptions, tusUpload, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { png } from '../support/images.ts';
import { startBrowser } from '../web/browser.ts';
import { listenTo } from './listener.ts';

type Told = { type: string; data: string; id: string };
/** What a client told its user so far, and whether it has stopped for good. */
type Look = () => Promise<{ heard: Told[]; stopped: boolean }>;
type Connect = (url: string, token: string) => Promise<Look>;

const EVENTS = ['snapshot', 'image', 'ticket', 'progress', 'end', 'message'];
const CLOSED = 2;
const silent = pino({ level: 'silent' });

/** Files that a page of the test may import, by the names of their packages. */
const libraries: Record<string, string> = {
  'sse.js': import.meta.resolve('sse.js'),
  'fetch-event-source': import.meta.resolve('@microsoft/fetch-event-source').replace('/cjs/', '/esm/'),
  'event-source-polyfill': import.meta.resolve('event-source-polyfill'),
};

/** What the page does with each library, as its documentation shows it. */
const inPage: Record<string, string> = {
  'sse.js': `
    const { SSE } = await import('/clients/sse.js/sse.js');
    const source = new SSE(url, { headers, start: false });
    for (const type of EVENTS) source.addEventListener(type, (event) => tell(type, event.data, event.id));
    source.addEventListener('readystatechange', (event) => { if (event.readyState === SSE.CLOSED) stop(); });
    source.stream();`,
  'fetch-event-source': `
    const { fetchEventSource } = await import('/clients/fetch-event-source/index.js');
    fetchEventSource(url, {
      headers,
      openWhenHidden: true,
      onmessage: ({ event, data, id }) => tell(event, data, id),
    }).then(stop);`,
  'event-source-polyfill': `
    await import('/clients/event-source-polyfill/eventsource.js');
    const source = new EventSourcePolyfill(url, { headers });
    for (const type of EVENTS) source.addEventListener(type, (event) => tell(type, event.data, event.lastEventId));
    source.addEventListener('error', () => { if (source.readyState === ${CLOSED}) stop(); });`,
};

describe('the events of a ticket, by stock clients', () => {
  let gateway: TestGateway;
  let api: Api;
  let url: string;
  let browser: Browser;
  let page: Page;
  const release = new AsyncDisposableStack();
  const asked: { path: string; lastId: string; status: number }[] = [];

  before(async function () {
    this.timeout(60_000);
    gateway = await startTestGateway();
    release.defer(() => gateway.close());
    api = createApi(gateway.url, (await gateway.createUser()).token);
    const { db, config } = gateway;
    const hub = await startHub(config.DATABASE_URL, db, silent);
    release.defer(() => hub.close());
    const events = progressRoutes({
      ...{ db, hub, log: silent, details: createDetails(db, () => 0), offsetOf: () => 0 },
      authenticate: createAuthentication(createCallers(db)),
      baseUrlOf: () => gateway.url,
      limits: { perToken: 10, perUser: 10 },
      heartbeatMs: 50,
    });
    release.defer(() => events.close(500));
    const note: Middleware<State> = async (ctx, next) => {
      await next();
      const lastId = ctx.get('Last-Event-ID') || String(ctx.query.lastEventId ?? '');
      asked.push({ path: ctx.path, lastId, status: ctx.res.statusCode });
    };
    const app = createApp([note, events.router.routes() as never], {
      log: silent,
      allowedOrigins: ['*'],
      trustProxy: false,
    });
    const server = await listen(app.callback(), { host: '127.0.0.1', port: 0, idleMs: 5_000 });
    release.defer(() => server.close(500));
    url = server.url;
    browser = await startBrowser();
    release.defer(() => browser.close());
    page = await browser.newPage();
    await page.route(`${url}/clients/**`, async (route) => {
      const [, , name = '', file = ''] = new URL(route.request().url()).pathname.split('/');
      const library = libraries[name];
      if (!library) return route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>clients</title>' });
      const path = new URL(file.endsWith('.js') ? file : `${file}.js`, library);
      return route.fulfill({ contentType: 'text/javascript', body: await readFile(path, 'utf8') });
    });
  });
  after(() => release.disposeAsync());

  const ofNode =
    (open: (url: string, token: string) => EventTarget & { readonly readyState: number }): Connect =>
    async (eventsUrl, token) => {
      const source = open(eventsUrl, token);
      const heard: Told[] = [];
      for (const type of EVENTS)
        source.addEventListener(type, (event) => {
          const { data, lastEventId } = event as Event & { data: string; lastEventId: string };
          heard.push({ type, data, id: lastEventId });
        });
      return async () => ({ heard, stopped: source.readyState === CLOSED });
    };

  const ofPage =
    (name: string): Connect =>
    async (eventsUrl, token) => {
      await page.goto(`${url}/clients/`);
      const told = JSON.stringify({ url: eventsUrl, headers: { Authorization: `Bearer ${token}` }, EVENTS });
      await page.evaluate(`(async ({ url, headers, EVENTS }) => {
        const state = (globalThis.state = { heard: [], stopped: false });
        const tell = (type, data, id) => state.heard.push({ type, data, id: String(id ?? '') });
        const stop = () => { state.stopped = true; };
        ${inPage[name]}
      })(${told})`);
      return () => page.evaluate<{ heard: Told[]; stopped: boolean }>('globalThis.state');
    };

  const clients: { name: string; connect: Connect; comesBack: boolean }[] = [
    {
      name: 'eventsource 2',
      comesBack: true,
      connect: ofNode((address, token) => new EventSource2(address, { headers: { Authorization: `Bearer ${token}` } })),
    },
    {
      name: 'eventsource 3 and later',
      comesBack: true,
      connect: ofNode(
        (address, token) =>
          new EventSource(address, {
            fetch: (input, init) =>
              fetch(input, { ...init, headers: { ...init.headers, Authorization: `Bearer ${token}` } }),
          }),
      ),
    },
    { name: '@microsoft/fetch-event-source', comesBack: false, connect: ofPage('fetch-event-source') },
    { name: 'event-source-polyfill', comesBack: true, connect: ofPage('event-source-polyfill') },
    { name: 'sse.js', comesBack: false, connect: ofPage('sse.js') },
  ];

  for (const { name, connect, comesBack } of clients) {
    it(`reach ${name}, all of them and nothing else, and it stops at the end`, async function () {
      this.timeout(30_000);
      const ticket = await api.openTicket(1);
      const path = `/v1/tickets/${ticket.id}/events`;
      const look = await connect(`${url}${path}`, ticket.uploadToken);
      await until('a snapshot', async () => (await look()).heard.length > 0);
      const plain = await listenTo(`${url}${path}`, api.token);
      await until('heartbeats', () => plain.comments > 20);
      await tusUpload(png({ bytes: 1500 }), { ...tusOptions(ticket), metadata: { slot: 'only' } });
      await plain.ended;
      const { heard } = await until('the client has stopped', async () => {
        const seen = await look();
        return seen.stopped ? seen : null;
      });
      const told = heard.filter(({ type }) => type !== 'progress');
      const expected = plain.events.filter(({ event }) => event !== 'progress');
      expect(told.map(({ type, id }) => [type, id])).to.deep.equal(expected.map(({ event, rawId }) => [event, rawId]));
      expect(told.map(({ data }) => JSON.parse(data))).to.deep.equal(expected.map(({ data }) => data));
      const own = asked.filter((one) => one.path === path && one.status !== 200);
      expect(own).to.deep.equal(comesBack ? [{ path, lastId: told.at(-1)?.id, status: 204 }] : []);
    });
  }
});
