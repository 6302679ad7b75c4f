import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { expect } from 'chai';
import { listen } from '../../src/http/server.ts';
import { type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { storedAssets } from '../transfers/rig.ts';
import { createEndpoint, type Endpoint } from '../uploads/raw.ts';
import { open, sendRequest } from './raw.ts';

const CONNECTIONS = 2_000;

describe('whoever means no good', () => {
  const { gateway, api } = useGateway();
  let ticket: Json;
  let endpoint: Endpoint;
  let url: string;
  before(async () => {
    ticket = await api.openTicket(1000);
    endpoint = createEndpoint(ticket);
    url = await endpoint.begin({ size: 50_000 });
  });

  const md5 = (bytes: Buffer | undefined) =>
    createHash('md5')
      .update(bytes ?? '')
      .digest('hex');
  const expectUnharmed = async () => {
    const { status, headers } = await endpoint.head(url);
    expect([status, headers['upload-offset']]).to.deep.equal([200, '0']);
  };

  describe('opens 2,000 connections and says nothing, or half of a request,', () => {
    /** In batches: what the system has no room for in its queue seems open to us, and never gets to the server. */
    const openMany = async (target: string): Promise<Socket[]> => {
      const sockets: Socket[] = [];
      while (sockets.length < CONNECTIONS) {
        const batch = Array.from({ length: 200 }, (_, index) => {
          const socket = open(target).resume();
          socket.on('error', () => {});
          if (index % 2 === 1) socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n');
          return socket;
        });
        await Promise.all(batch.map((socket) => once(socket, 'connect')));
        sockets.push(...batch);
      }
      return sockets;
    };
    before(function () {
      // Both ends are in this process.
      const [, limit = '0'] = /Max open files +\S+ +(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
      if (Number(limit) < 2 * CONNECTIONS + 500) this.skip();
    });

    it('and keeps nobody else from anything', async () => {
      const sockets = await openMany(gateway.url);
      try {
        const other = await api.openTicket(1);
        await tusUpload(jpeg({ bytes: 100_000 }), tusOptions(other));
        await untilCompleted(api, other.id);
        expect(
          sockets.filter((socket) => !socket.destroyed),
          'they were there all the time',
        ).to.have.length(CONNECTIONS);
      } finally {
        for (const socket of sockets) socket.destroy();
      }
    });

    it('and is shown out when the time for the headers is over', async () => {
      const limits = { host: '127.0.0.1', port: 0, idleMs: 60_000, headersMs: 500 };
      const server = await listen((_request, response) => response.end('ok'), limits);
      const sockets = await openMany(server.url);
      try {
        await until('all have gone', () => sockets.every((socket) => socket.closed));
      } finally {
        for (const socket of sockets) socket.destroy();
        await server.close(0);
      }
    });
  });

  it('sends hostile headers on every verb of an upload, and gets a 4xx or what is harmless', async () => {
    const large = (name: string, bytes: number) => `${name}: ${'A'.repeat(bytes)}`;
    const hostile: string[][] = [
      ['Upload-Length: 10', 'Upload-Length: 20'],
      ['Upload-Offset: 0', 'Upload-Offset: 5'],
      ['Upload-Defer-Length: 1', 'Upload-Length: 10'],
      ['Tus-Resumable: 1.0.0'],
      ['Upload-Metadata: slot YQ==', 'Upload-Metadata: slot Yg=='],
      [`Authorization: Bearer ${api.token}`],
      ['Content-Type: image/jpeg', 'Content-Type: text/html'],
      ['Upload-Metadata: filename YQ==\rX-Evil: 1'],
      ['Upload-Metadata: filename YQ==\nX-Evil: 1'],
      ['Upload-Metadata: filename', ' YQ=='],
      ['Upload-Metadata: filename \0'],
      [': nameless'],
      ['Upload-Offset : 0'],
      [large('Upload-Metadata', 16 * 1024)],
      [large('Upload-Metadata', 9 * 1024)],
      [large('X-Any', 16 * 1024)],
      Array.from({ length: 2_500 }, () => 'a:b'),
      ['Transfer-Encoding: chunked', 'Content-Length: 5'],
      ['Content-Length: 5', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: gzip, chunked', 'Content-Length: 5'],
      ['Transfer-Encoding: identity', 'Content-Length: 5'],
      ['Content-Length: 5', 'Content-Length: 6'],
      ['Content-Length: 99999999999999999999999999'],
      ['Content-Length: +5'],
      ...['1e9', '-1', '99999999999999999999', '0x10', '\uff11', 'NaN', ''].flatMap((number) => [
        [`Upload-Length: ${number}`],
        [`Upload-Offset: ${number}`],
      ]),
      ['X-HTTP-Method-Override: CONNECT'],
      ['X-HTTP-Method-Override: PATCH', 'X-HTTP-Method-Override: DELETE'],
      ['Upload-Concat: final;/a /b'],
      ['Connection: Upload-Offset, Authorization'],
      ['Upgrade: websocket', 'Connection: Upgrade'],
    ];
    const { pathname } = new URL(url);
    const uploads = new URL(ticket.uploadUrl).pathname;
    for (const [method, path] of [
      ['POST', uploads],
      ['POST', pathname],
      ['HEAD', pathname],
      ['PATCH', pathname],
      ['OPTIONS', pathname],
      ['DELETE', `${uploads}/019a0000-0000-7000-8000-000000000000`],
    ]) {
      const answers = hostile.map(async (lines) => {
        const has = (name: string) => lines.some((line) => line.toLowerCase().startsWith(`${name.toLowerCase()}:`));
        const head = [`${method} ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${api.token}`];
        if (!has('Content-Type')) head.push('Content-Type: application/offset+octet-stream');
        head.push('Tus-Resumable: 1.0.0', ...lines);
        const { status } = await sendRequest(gateway.url, head);
        expect(status, `${method} ${JSON.stringify(lines).slice(0, 80)}`).to.be.within(200, 499);
      });
      await Promise.all(answers);
    }
    await expectUnharmed();
  });

  it('finds no ticket by a name that is none, on any verb of any path', async () => {
    const id: string = ticket.id;
    const names = [
      ...['..', '../..', '%2e%2e', '%2e%2e%2f%2e%2e%2fetc%2fpasswd', '..%5c', '.staging-id', '.quarantine'],
      ...['%00', `${id}%00`, `${id}%0d%0a`, `${id}%20`, `${id}/..`, `${id}%2f..`, `${id};x`, `${id}.json`],
      ...[id.toUpperCase(), `{${id}}`, id.replaceAll('-', ''), "'%20OR%20''='", '0', 'null', '%ff', '%zz'],
    ];
    const image = url.split('/').at(-1);
    for (const name of names) {
      const paths = ['', '/events', '/uploads', `/uploads/${image}`].map((rest) => `/v1/tickets/${name}${rest}`);
      const asked = paths.flatMap((path) =>
        ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'].map(async (method) => {
          const { status } = await sendRequest(gateway.url, [
            ...[`${method} ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${api.token}`],
            ...['Tus-Resumable: 1.0.0', 'Upload-Length: 10', 'Upload-Offset: 0', 'Content-Length: 0'],
            'Content-Type: application/offset+octet-stream',
          ]);
          // What OPTIONS tells of a path is no secret: it needs no token.
          const expected = method === 'OPTIONS' ? [204, 400, 404] : [400, 404, 405];
          expect(status, `${method} ${path}`).to.be.oneOf(expected);
        }),
      );
      await Promise.all(asked);
    }
    await expectUnharmed();
  });

  it('names a file so that the storage would be told something else, and it is not', async () => {
    const hostile = [
      'a"; filename="b\'c.gif',
      'a\r\n\r\n--boundary\r\nContent-Disposition: form-data; name="public_id"\r\n\r\nmine',
      '\0\x01\x1b[31m\x7fred.jpg',
      'a&public_id=mine&overwrite=true|b=c\\.gif',
      '../../../etc/passwd',
      '\u202egpj.exe',
      '"'.repeat(300),
      '\r\n',
    ];
    const target = await api.openTicket(hostile.length);
    const photos = hostile.map((_, seed) => jpeg({ bytes: 5_000, seed: 500 + seed }));
    for (const [index, filename] of hostile.entries()) {
      const metadata = { filename, slot: `${index}` };
      await tusUpload(photos[index] as Buffer, { ...tusOptions(target), metadata });
    }
    const { images } = await untilCompleted(api, target.id);
    const assets = await storedAssets(`${gateway.config.DATA_DIR}/cloudinary`);
    for (const image of images as Json[]) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must be gone
      expect(image.filename ?? '').to.not.match(/[\x00-\x1f\x7f]/);
      const [asset, ...more] = assets.filter(({ publicId }) => publicId === `hopla/${image.id}`);
      expect(more).to.deep.equal([]);
      expect(asset, 'nothing but its bytes and its own name').to.include({
        md5: md5(photos[image.slot]),
        bytes: 5_000,
      });
      // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what must be gone
      expect(asset.originalFilename ?? '').to.not.match(/[\x00-\x1f\x7f/]/);
      const sent = gateway.cloudinary.ledger.entries({ publicId: `hopla/${image.id}`, operation: 'upload' });
      expect(sent.map(({ answered, overwrite }) => ({ answered, overwrite }))).to.deep.equal([
        { answered: 200, overwrite: false },
      ]);
    }
    const strange = gateway.cloudinary.ledger.entries().filter(({ publicId }) => /mine|etc|exe/.test(publicId ?? ''));
    expect(strange).to.deep.equal([]);
  });

  it('frames no page, runs nothing of its own in it, and learns no address from it', async () => {
    for (const path of [
      '/',
      '/docs',
      '/problems/ticket-full',
      '/admin/sign-in',
      '/problems/%3Cscript%3E',
      '/nowhere',
    ]) {
      const { headers } = await fetch(new URL(path, gateway.url));
      expect(headers.get('X-Content-Type-Options'), path).to.equal('nosniff');
      if (!headers.get('Content-Type')?.startsWith('text/html')) continue;
      const policy = headers.get('Content-Security-Policy') ?? '';
      expect(policy, path).to.include("default-src 'none'").and.include("frame-ancestors 'none'");
      expect(policy, path).to.not.include('unsafe-eval');
      expect(policy.match(/script-src[^;]*/)?.[0] ?? '', path).to.not.include('unsafe-inline');
      expect(headers.get('X-Frame-Options'), path).to.equal('DENY');
      expect(headers.get('Referrer-Policy'), path).to.be.oneOf(['no-referrer', 'same-origin']);
      expect(headers.get('Cross-Origin-Opener-Policy'), path).to.equal('same-origin');
    }
  });
});
