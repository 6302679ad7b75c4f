import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { expect } from 'chai';
import pino from 'pino';
import { startGateway } from '../../src/gateway.ts';
import { sendRequest } from '../http/raw.ts';
import { createApi, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

describe('the metrics', () => {
  const { gateway } = useGateway({ TRANSFER_ATTEMPTS: '1' });

  const read = async (): Promise<(name: string) => number> => {
    const response = await fetch(`${gateway.url}/metrics`);
    expect(response.headers.get('Content-Type')).to.match(/^text\/plain/);
    const lines = (await response.text()).split('\n');
    return (name) => Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1] ?? 0);
  };

  /** The metrics as soon as they are so: a text serves everybody for a second. */
  const readOnce = (isSo: (value: (name: string) => number) => boolean) =>
    until('the metrics say so', async () => {
      const value = await read();
      return isSo(value) ? value : null;
    });

  it('count what was received, what the storage answered, and what waits', async () => {
    const first = await read();
    expect(first('hopla_images_received_total')).to.equal(0);
    expect(first('hopla_staging_budget_bytes')).to.equal(gateway.config.STAGING_BUDGET_BYTES);

    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const ticket = await api.openTicket(2);
    for (const seed of [1, 2]) await tusUpload(jpeg({ bytes: 10_000, seed }), tusOptions(ticket));
    await untilCompleted(api, ticket.id);
    const second = await readOnce((value) => value('hopla_delivery_seconds_count') === 2);
    expect(second('hopla_images_received_total')).to.equal(2);
    expect(second('hopla_received_bytes_total')).to.equal(20_000);
    expect(second('hopla_stored_bytes_total')).to.equal(20_000);
    expect(second('hopla_transfer_seconds_count{outcome="stored"}')).to.equal(2);
    expect(second('hopla_storage_answers_total{class="success"}')).to.equal(2);
    expect(second('hopla_delivery_seconds_count')).to.equal(2);
    expect(second('hopla_delivery_seconds_sum')).to.be.within(0.001, 20);
    expect(second('hopla_transfers_waiting')).to.equal(0);

    gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'status', status: 500 } });
    const failing = await api.openTicket(1);
    await tusUpload(jpeg({ bytes: 10_000, seed: 3 }), tusOptions(failing));
    await until('the image failed', async () => (await api.ticket(failing.id)).counts.failed === 1);
    const last = await readOnce((value) => value('hopla_storage_answers_total{class="failure"}') === 1);
    expect(last('hopla_transfer_seconds_count{outcome="storage-unavailable"}')).to.equal(1);
    expect(last('hopla_storage_answers_total{class="failure"}')).to.equal(1);
    expect(last('hopla_staging_bytes')).to.equal(10_000);
  });

  for (const [answer, fault] of [
    ['silence', { kind: 'reset-before-storing' }],
    ['refused', { kind: 'status', status: 400, message: 'Invalid image file' }],
  ] as const) {
    it(`tell ${answer} from other answers of the storage`, async () => {
      const name = `hopla_storage_answers_total{class="${answer}"}`;
      expect((await read())(name)).to.equal(0);
      gateway.cloudinary.faults.clear();
      gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault });
      const api = createApi(gateway.url, (await gateway.createUser()).token);
      const ticket = await api.openTicket(1);
      await tusUpload(jpeg({ bytes: 10_000, seed: answer.length }), tusOptions(ticket));
      await until('it is counted', async () => (await read())(name) === 1);
    });
  }

  it('tell how long requests waited for an upload that another one held', async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const ticket = await api.openTicket(1);
    const headers = { ...tusOptions(ticket).headers, 'Tus-Resumable': '1.0.0' };
    const created = await api.call('POST', ticket.uploadUrl, { headers: { ...headers, 'Upload-Length': '100000' } });
    const before = (await read())('hopla_upload_lock_seconds_count{outcome="taken"}');
    const { status } = await api.call('HEAD', created.headers.get('Location') ?? '', { headers });
    expect(status).to.equal(200);
    await readOnce((value) => value('hopla_upload_lock_seconds_count{outcome="taken"}') === before + 1);
  });

  it('have every name that the dashboard and the alerts use', async () => {
    const scrape = await (await fetch(`${gateway.url}/metrics`)).text();
    const told = new Set(scrape.split('\n').map((line) => /^\w+/.exec(line)?.[0]));
    for (const file of ['dashboard.json', 'alerts.yaml']) {
      const text = await readFile(new URL(`../../operations/${file}`, import.meta.url), 'utf8');
      const used = new Set(text.match(/\b(hopla|nodejs|process)_\w+/g));
      expect(used.size).to.be.above(5);
      for (const name of used) expect(told, `${name} in ${file}`).to.include(name);
    }
  });

  it('tell how long uploads took, without a label that a client chooses', async () => {
    await fetch(`${gateway.url}/v1/tickets/of-somebody/uploads`, { method: 'PROPFIND' });
    const scrape = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(scrape).to.match(/^hopla_request_seconds_count\{kind="upload",method="POST",status="2xx"\} [1-9]/m);
    expect(scrape).to.not.include('PROPFIND').and.not.include('of-somebody');
    expect(scrape).to.match(/^hopla_database_connections\{state="free"\} \d/m);
  });
});

describe('the address of the metrics', () => {
  const start = async (settings: Record<string, string> = {}) => {
    const gateway = await startTestGateway(settings);
    return { gateway, [Symbol.asyncDispose]: () => gateway.close() };
  };
  const statusOf = async (url: string, headers: Record<string, string> = {}) =>
    (await fetch(`${url}/metrics`, { headers })).status;
  const TOKEN = 'a-token-for-the-scraper';

  it('is there for this host alone, and for nobody whom a proxy on this host forwards', async () => {
    await using started = await start({ HOST: '0.0.0.0', TRUST_PROXY: 'true' });
    const { url } = started.gateway;
    expect(await statusOf(url)).to.equal(200);
    for (const [name, value] of [
      ['X-Forwarded-For', '127.0.0.1'],
      ['X-Forwarded-For', ''],
      ['X-Forwarded-Host', 'uploads.example.com'],
      ['X-Forwarded-Proto', 'https'],
      ['Forwarded', 'for=127.0.0.1'],
      ['X-Real-IP', '127.0.0.1'],
      ['Via', '1.1 proxy'],
      ['CF-Connecting-IP', '203.0.113.7'],
      ['True-Client-IP', '203.0.113.7'],
      ['X-Forwarded-Port', '443'],
    ] as const)
      expect(await statusOf(url, { [name]: value }), `${name}: ${value}`).to.equal(404);
    const outside = Object.values(networkInterfaces())
      .flat()
      .find((address) => address && !address.internal && address.family === 'IPv4');
    if (outside) expect(await statusOf(url.replace('localhost', outside.address))).to.equal(404);
  });

  it('is not there for a page of the Web in a browser on this host', async () => {
    await using started = await start();
    const { url } = started.gateway;
    for (const line of ['Origin: https://page.example', 'Origin: null', 'Sec-Fetch-Site: cross-site'])
      expect((await sendRequest(url, ['GET /metrics HTTP/1.1', 'Host: localhost', line])).status, line).to.equal(404);
    for (const [host, status] of [
      ['page.example', 404],
      ['page.example:8080', 404],
      ['127.0.0.1.page.example', 404],
      ['localhost', 200],
      ['[::1]:8080', 200],
    ] as const)
      expect((await sendRequest(url, ['GET /metrics HTTP/1.1', `Host: ${host}`])).status, host).to.equal(status);
  });

  it('asks for METRICS_TOKEN where that is set, whoever calls', async () => {
    await using started = await start({ METRICS_TOKEN: TOKEN });
    const { url } = started.gateway;
    expect(await statusOf(url, { Authorization: `Bearer ${TOKEN}`, 'X-Forwarded-For': '203.0.113.7' })).to.equal(200);
    const { token } = await started.gateway.createUser();
    for (const value of [`Bearer ${TOKEN}x`, `Bearer ${TOKEN.slice(1)}`, TOKEN, 'Bearer ', `Bearer ${token}`, '']) {
      const answer = await fetch(`${url}/metrics`, { headers: value ? { Authorization: value } : {} });
      expect(answer.status, value).to.equal(401);
      expect(answer.headers.get('WWW-Authenticate')).to.match(/^Bearer/);
      expect(await answer.json()).to.include({ code: 'unauthorized' });
    }
  });

  it('is on METRICS_PORT and nowhere else, and nothing else is there', async () => {
    await using directory = await startTestGateway().then((gateway) => ({
      gateway,
      [Symbol.asyncDispose]: () => gateway.close(),
    }));
    const { gateway } = directory;
    const settings = { ...gateway.config, PORT: 0, STAGING_DIR: `${gateway.config.DATA_DIR}/own`, METRICS_PORT: 0 };
    await using own = await startGateway(settings, pino({ level: 'silent' })).then((other) => ({
      other,
      [Symbol.asyncDispose]: () => other.close(),
    }));
    const { url, metricsUrl } = own.other;
    if (metricsUrl === null) throw new Error('the metrics have no port');
    expect(await statusOf(url)).to.equal(404);
    expect(await statusOf(metricsUrl)).to.equal(200);
    expect(await statusOf(metricsUrl, { 'X-Forwarded-For': '203.0.113.7' })).to.equal(200);
    for (const path of ['/', '/healthz', '/admin', '/v1/tickets', '/METRICS', '/metrics/'])
      expect((await fetch(`${metricsUrl}${path}`)).status, path).to.equal(404);
  });

  it('shares one text among all who ask within a second', async () => {
    await using started = await start();
    const texts = await Promise.all(
      Array.from({ length: 50 }, async () => (await fetch(`${started.gateway.url}/metrics`)).text()),
    );
    // The time of the processor moves from one text to the next.
    expect(new Set(texts).size).to.be.within(1, 2);
  });
});
