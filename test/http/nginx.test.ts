import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type ClientHttp2Session, connect as connectHttp2, type OutgoingHttpHeaders } from 'node:http2';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Api, createApi, type Json, until, untilCompleted } from '../support/client.ts';
import { sha256Of } from '../support/digest.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { blocksOf, readPage } from '../support/pages.ts';
import { startTcpProxy } from './tcp-proxy.ts';

/** Half of a round trip to the other end of a country. */
const DELAY_MS = 40;
/** Where Debian has it, which is on no user's PATH. */
const PATH = `${process.env.PATH}:/usr/sbin`;

describe('behind nginx, as the documentation has it, with HTTP/2 and a delay', () => {
  const photo = jpeg({ bytes: 8_000_000, seed: 41 });
  const closing = new AsyncDisposableStack();
  let gateway: TestGateway;
  let api: Api;
  let session: ClientHttp2Session;
  let url: string;
  before(async function () {
    if (spawnSync('nginx', ['-v'], { env: { PATH } }).error) this.skip();
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    gateway = closing.adopt(await startTestGateway({ TRUST_PROXY: 'true' }), (started) => started.close());
    api = createApi(gateway.url, (await gateway.createUser()).token);
    await startNginx(port, gateway.url, closing);
    const delayed = closing.adopt(await startTcpProxy(url, { delayMs: DELAY_MS }), (started) => started.close());
    session = closing.adopt(connectHttp2(delayed.url), (connected) => connected.destroy());
    await once(session, 'remoteSettings');
  });
  after(() => closing.disposeAsync());

  const send = async (method: string, ticket: Json, path: string, headers: OutgoingHttpHeaders, body?: Buffer) => {
    const stream = session.request({
      ':method': method,
      ':path': path,
      ':authority': 'uploads.example.com',
      authorization: `Bearer ${ticket.uploadToken}`,
      'tus-resumable': '1.0.0',
      ...headers,
    });
    stream.end(body);
    const [answer] = await once(stream, 'response');
    stream.resume();
    return answer;
  };

  it('lets a client send megabytes of a photo before it waits', () => {
    expect(session.remoteSettings.initialWindowSize).to.equal(4 * 1024 * 1024);
  });

  it('takes an upload, whole and in pieces, and hands out the address that the client knows', async () => {
    const ticket = await api.openTicket(2);
    const path = `/v1/tickets/${ticket.id}/uploads`;
    const type = { 'content-type': 'application/offset+octet-stream' };
    const whole = await send('POST', ticket, path, { 'upload-length': `${photo.length}`, ...type }, photo);
    expect([whole[':status'], whole['upload-offset']]).to.deep.equal([201, `${photo.length}`]);
    const begun = await send('POST', ticket, path, { 'upload-length': `${photo.length}`, 'content-length': '0' });
    expect(begun.location).to.match(/^http:\/\/uploads\.example\.com\/v1\/tickets\//);
    const upload = new URL(String(begun.location)).pathname;
    for (const offset of [0, 5_000_000]) {
      const piece = photo.subarray(offset, offset + 5_000_000);
      const patched = await send('PATCH', ticket, upload, { 'upload-offset': `${offset}`, ...type }, piece);
      expect([patched[':status'], patched['upload-offset']]).to.deep.equal([204, `${offset + piece.length}`]);
    }
    const { images } = await untilCompleted(api, ticket.id);
    expect(images.map((image: Json) => image.sha256)).to.deep.equal([sha256Of(photo), sha256Of(photo)]);
  });

  it('passes the bytes on as they come', async () => {
    const ticket = await api.openTicket(1);
    const stream = session.request({
      ':method': 'POST',
      ':path': `/v1/tickets/${ticket.id}/uploads`,
      ':authority': 'uploads.example.com',
      authorization: `Bearer ${ticket.uploadToken}`,
      'tus-resumable': '1.0.0',
      'upload-length': `${photo.length}`,
      'content-type': 'application/offset+octet-stream',
      'content-length': `${photo.length}`,
    });
    stream.write(photo.subarray(0, 3_000_000));
    await until('hopla has them', async () => (await api.ticket(ticket.id)).images[0]?.offset === 3_000_000);
    stream.end(photo.subarray(3_000_000));
    const [answer] = await once(stream, 'response');
    expect(answer[':status']).to.equal(201);
    await untilCompleted(api, ticket.id);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** nginx with the documented block, word for word, but for the port of hopla. */
async function startNginx(port: number, upstream: string, closing: AsyncDisposableStack): Promise<void> {
  const block = blocksOf(readPage('docs/operations.md')).find(({ language }) => language === 'nginx')?.text ?? '';
  expect(block).to.include('proxy_pass http://127.0.0.1:8080;');
  const directory = await mkdtemp(join(tmpdir(), 'hopla-nginx-'));
  closing.defer(() => rm(directory, { recursive: true }));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const configuration = `daemon off; master_process off; pid nginx.pid; error_log stderr warn;
    events {}
    http {
      access_log off;
      ${temporary.map((name) => `${name}_temp_path ${name};`).join(' ')}
      server {
        listen 127.0.0.1:${port} http2;
        ${block.replace('http://127.0.0.1:8080', upstream)}
      }
    }`;
  await writeFile(join(directory, 'nginx.conf'), configuration);
  const nginx = spawn('nginx', ['-p', directory, '-c', 'nginx.conf'], { env: { PATH } });
  const ended = once(nginx, 'exit');
  let complaints = '';
  nginx.stderr.on('data', (text) => {
    complaints += text;
  });
  closing.defer(async () => {
    nginx.kill('SIGKILL');
    await ended;
  });
  await until(`nginx listens ${complaints}`, async () => {
    if (nginx.exitCode !== null) throw new Error(complaints);
    const socket = connect(port, '127.0.0.1');
    const listens = await new Promise((resolve) =>
      socket.on('connect', () => resolve(true)).on('error', () => resolve(false)),
    );
    socket.destroy();
    return listens;
  });
}
