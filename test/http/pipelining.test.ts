import type { ServerResponse } from 'node:http';
import { expect } from 'chai';
import { type HttpServer, listen } from '../../src/http/server.ts';
import { until } from '../support/client.ts';
import { open, sendBytes } from './raw.ts';

const request = (path: number | string, more = '') => `GET /${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;

describe('requests that do not wait for the answer before', () => {
  let server: HttpServer;
  let begun: [string, ServerResponse][];
  let answering: boolean;
  before(async () => {
    const handler = ({ url = '' }, response: ServerResponse) => {
      begun.push([url, response]);
      if (answering) setImmediate(() => response.end(url));
    };
    server = await listen(handler, { host: '127.0.0.1', port: 0, idleMs: 10_000 });
  });
  beforeEach(() => {
    begun = [];
    answering = true;
  });
  after(() => server.close(0));

  it('are answered in their order', async () => {
    const paths = Array.from({ length: 32 }, (_, index) => index);
    const text = await sendBytes(
      server.url,
      paths.map((path) => request(path, path === 31 ? 'Connection: close\r\n' : '')).join(''),
    );
    expect(text.match(/(?<=\r\n\r\n)\/\d+/g)).to.deep.equal(paths.map((path) => `/${path}`));
  });

  it('are as many in all as a connection lasts for', async () => {
    const socket = open(server.url);
    let answers = '';
    socket.on('data', (piece) => {
      answers += piece;
    });
    for (let round = 1; round <= 5; round++) {
      socket.write(request(round).repeat(20));
      await until('a round is answered', async () => answers.split('HTTP/1.1 200').length === 20 * round + 1);
    }
    socket.destroy();
  });

  it('end their connection when there are too many, and few of them begin', async () => {
    answering = false;
    const socket = open(server.url);
    socket.on('error', () => {});
    socket.write(request('much').repeat(2_000));
    socket.resume();
    await until('the connection ends', async () => socket.closed);
    expect(begun).to.have.length(32);
    for (const [, response] of begun) response.end();
    answering = true;
    expect(await sendBytes(server.url, request('later', 'Connection: close\r\n'))).to.contain('/later');
  });
});
