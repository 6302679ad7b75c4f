import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import { watchSlowBodies } from '../../src/http/slow-bodies.ts';
import { createApi, tusOptions, tusUpload, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createEndpoint } from '../uploads/raw.ts';
import { open } from './raw.ts';

const DRIP_MS = 50;

describe('a request body that comes too slowly', () => {
  const { gateway, api } = useGateway({ UPLOAD_IDLE_SECONDS: '1', UPLOAD_MIN_BYTES_PER_SECOND: '10000' });

  /** Sends the head of a request, then its body byte by byte until the connection ends; resolves to what was answered. */
  const drip = async (head: string[], body: Buffer): Promise<string> => {
    const socket = open(gateway.url);
    socket.write(`${[...head, 'Host: x', `Authorization: Bearer ${api.token}`].join('\r\n')}\r\n\r\n`);
    let at = 0;
    const dripping = setInterval(() => {
      socket.write(body.subarray(at, at + 1));
      at += 1;
    }, DRIP_MS);
    let answer = '';
    socket.on('data', (data) => {
      answer += data;
    });
    // A byte on its way while the server closes makes the end a reset. The answer counts, whichever end it is.
    socket.on('error', (error: NodeJS.ErrnoException) => expect(error.code).to.equal('ECONNRESET'));
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(dripping);
    return answer;
  };

  it('is ended without an answer, JSON or upload, and the upload keeps its place', async () => {
    const ticket = await api.openTicket(1);
    const url = await createEndpoint(ticket).begin({ size: 100_000 });
    const json = ['POST /v1/tickets HTTP/1.1', 'Content-Type: application/json', 'Content-Length: 1000'];
    const patch = [
      `PATCH ${new URL(url).pathname} HTTP/1.1`,
      ...['Tus-Resumable: 1.0.0', 'Content-Type: application/offset+octet-stream', 'Upload-Offset: 0'],
      'Content-Length: 100000',
    ];
    expect(
      await Promise.all([
        drip(json, Buffer.from('{"images": 1}'.padStart(1000))),
        drip(patch, jpeg({ bytes: 100_000 })),
      ]),
    ).to.deep.equal(['', '']);
    const { status, headers } = await createEndpoint(ticket).head(url);
    expect(status).to.equal(200);
    expect(Number(headers['upload-offset']), 'and its bytes').to.be.above(10);
  });

  it('is gone on with by tus-js-client, at the byte it came to, as often as it takes', async () => {
    const slow = await startSlowLine(gateway.url, { connections: 2, bytesAtOnce: 100_000 });
    try {
      const photo = jpeg({ bytes: 600_000 });
      const ticket = await createApi(slow.url, api.token).openTicket(1);
      const sent: string[] = [];
      const offsets: number[] = [];
      await tusUpload(photo, {
        ...tusOptions(ticket),
        onBeforeRequest: (request) => void sent.push(request.getMethod()),
        onAfterResponse(request, response) {
          if (request.getMethod() === 'HEAD') offsets.push(Number(response.getHeader('Upload-Offset')));
        },
      });
      expect(sent.filter((method) => method === 'POST')).to.have.length(1);
      expect(sent.filter((method) => method === 'PATCH')).to.have.length.above(1);
      expect(offsets.at(0), 'it did not start over').to.be.above(50_000);
      expect(offsets).to.deep.equal(offsets.toSorted((a, b) => a - b));
      const { images } = await untilCompleted(api, ticket.id);
      expect(images).to.have.length(1);
      expect(Buffer.from(await (await fetch(images[0].url)).arrayBuffer()).equals(photo)).to.equal(true);
    } finally {
      await slow.close();
    }
  });

  it('is waited for when it is we who take nothing, and when it is fast enough', async () => {
    const bodies = watchSlowBodies({ minBytesPerSecond: 100, windowMs: 200 });
    const server = createHttpServer((request, response) => {
      bodies.watch(request);
      if (request.url === '/later') setTimeout(() => request.resume(), 1_000);
      else request.resume();
      request.on('end', () => response.end());
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const send = async (path: string, pieces: number, bytes: number) => {
      const socket = open(url);
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: ${pieces * bytes}\r\nConnection: close\r\n\r\n`,
      );
      let left = pieces;
      const sending = setInterval(() => {
        socket.write('x'.repeat(bytes));
        left -= 1;
        if (left === 0) clearInterval(sending);
      }, DRIP_MS);
      const answer = (await socket.toArray()).join('');
      clearInterval(sending);
      return answer.slice(0, 12);
    };
    try {
      const answers = [send('/later', 2, 500_000), send('/', 20, 50), send('/', 20, 1)];
      expect(await Promise.all(answers)).to.deep.equal(['HTTP/1.1 200', 'HTTP/1.1 200', '']);
    } finally {
      bodies.close();
      server.closeAllConnections();
      server.close();
    }
  });
});

/** A line to a server whose first connections send only so much at once, and then drip; the later ones are fast. */
async function startSlowLine(
  targetUrl: string,
  { connections, bytesAtOnce }: { connections: number; bytesAtOnce: number },
): Promise<{ url: string; close(): Promise<void> }> {
  const { hostname, port } = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let opened = 0;
  const server = createServer((client) => {
    opened += 1;
    const slow = opened <= connections;
    const target = connect(Number(port), hostname);
    let left = slow ? bytesAtOnce : Number.POSITIVE_INFINITY;
    let waiting = Buffer.alloc(0);
    client.on('data', (piece) => {
      const now = piece.subarray(0, Math.max(0, left));
      left -= now.length;
      target.write(now);
      waiting = Buffer.concat([waiting, piece.subarray(now.length)]);
    });
    const dripping = setInterval(() => {
      if (waiting.length > 0) target.write(waiting.subarray(0, 10));
      waiting = waiting.subarray(10);
    }, DRIP_MS);
    target.on('data', (piece) => client.write(piece));
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        clearInterval(dripping);
        sockets.delete(socket);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
