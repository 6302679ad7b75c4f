import { expect } from 'chai';
import { listen } from '../../src/http/server.ts';
import { createApi, type Json, until } from '../support/client.ts';
import { startTestGateway, useGateway } from '../support/gateway.ts';
import { open, parseAnswer, sendBytes, sendRequest, type WireAnswer } from './raw.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/;

describe('requests', () => {
  const { gateway, api } = useGateway();

  const get = (path: string, ...lines: string[]) =>
    sendRequest(gateway.url, [
      `GET ${path} HTTP/1.1`,
      ...(lines.some((line) => /^Host/i.test(line)) ? [] : ['Host: x']),
      ...lines,
    ]);
  const expectProblem = ({ status, headers, body }: WireAnswer, expected: number, code: string, about = '') => {
    expect(status, about).to.equal(expected);
    expect(headers['content-type'], about).to.include('application/problem+json');
    const problem: Json = JSON.parse(body);
    expect(problem, about).to.include({ type: `/problems/${code}`, status, code });
    expect(problem.title, about).to.be.a('string').that.is.not.empty;
    expect(problem.detail, about).to.be.a('string').that.is.not.empty;
    expect(problem.requestId, about).to.equal(headers['x-request-id']);
  };

  describe('have an id', () => {
    it('of the caller, when it is a sane one', async () => {
      for (const id of ['abc', 'A.b_c:d-1', 'x'.repeat(128), '01890000-0000-7000-8000-000000000000']) {
        const { headers } = await get('/healthz', `X-Request-Id: ${id}`);
        expect(headers['x-request-id']).to.equal(id);
      }
    });

    it('of ours, when there is none or a silly one', async () => {
      for (const lines of [
        [],
        ['X-Request-Id:'],
        ['X-Request-Id: a b'],
        [`X-Request-Id: ${'x'.repeat(129)}`],
        ['X-Request-Id: <script>'],
        ['X-Request-Id: \xe4'],
        ['X-Request-Id: a', 'X-Request-Id: b'],
      ]) {
        const { headers } = await get('/healthz', ...lines);
        expect(headers['x-request-id']).to.match(UUID);
      }
    });

    it('on every kind of answer', async () => {
      const ticket = await api.openTicket(1);
      const answers = [
        await api.call('GET', '/v1/nowhere'),
        await api.call('PUT', '/v1/tickets'),
        await api.call('POST', '/v1/tickets', { body: {} }),
        await api.call('GET', '/v1/tickets', { token: null }),
        await api.call('HEAD', `/v1/tickets/${ticket.id}`),
        await api.call('OPTIONS', '/v1/tickets'),
        await api.call('OPTIONS', '/v1/tickets', {
          headers: { Origin: 'http://a', 'Access-Control-Request-Method': 'POST' },
        }),
        await api.call('OPTIONS', `/v1/tickets/${ticket.id}/uploads`),
        await api.call('HEAD', `/v1/tickets/${ticket.id}/events`),
        await api.call('POST', `/v1/tickets/${ticket.id}/uploads`),
      ];
      for (const { headers } of answers) expect(headers.get('X-Request-Id')).to.match(UUID);
    });
  });

  describe('that are no HTTP', () => {
    it('get 400 as a problem document', async () => {
      for (const bytes of [
        'nonsense\r\n\r\n',
        'GET /healthz\r\n\r\n',
        'GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n',
        'GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n',
        'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n',
        'GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
        'POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
        'POST /v1/tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n',
        'POST /v1/tickets HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
        'POST /v1/tickets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n',
        'GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n',
        '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03',
      ]) {
        const answer = parseAnswer(await sendBytes(gateway.url, Buffer.from(bytes, 'latin1')));
        expectProblem(answer, 400, 'malformed-request', JSON.stringify(bytes));
      }
    });

    it('get 400 when the nonsense comes in the middle of a body', async () => {
      const answer = await sendBytes(
        gateway.url,
        `POST /v1/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"ima\r\nzz\r\n`,
      );
      expectProblem(parseAnswer(answer), 400, 'malformed-request');
      expect(answer.match(/HTTP\/1\.1/g), 'one answer').to.have.length(1);
    });

    it('never get into the middle of another answer', async () => {
      const ticket = await api.openTicket(1);
      const socket = open(gateway.url);
      socket.write(
        `GET /v1/tickets/${ticket.id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token}\r\n\r\n`,
      );
      let text = '';
      socket.on('data', (piece) => {
        if (!text.includes('snapshot') && `${text}${piece}`.includes('snapshot')) socket.write('nonsense\r\n\r\n');
        text += piece;
      });
      await until('the stream is cut', () => socket.destroyed);
      expect(text.match(/HTTP\/1\.1/g)).to.have.length(1);
    });
  });

  it('get 431 for huge headers, readable to a browser', async () => {
    const answers = [
      await get('/healthz', `X-Large: ${'x'.repeat(17_000)}`),
      await get(`/healthz?${'x'.repeat(17_000)}`),
      await get('/healthz', ...Array.from({ length: 200 }, (_, index) => `X-Many-${index}: ${'x'.repeat(80)}`)),
    ];
    for (const answer of answers) {
      expectProblem(answer, 431, 'headers-too-large');
      expect(answer.headers['access-control-allow-origin']).to.equal('*');
    }
    expectProblem(await get('/healthz', `X-Large: ${'x'.repeat(65_600)}`), 431, 'headers-too-large');
  });

  it('get 400 for an address that cannot be decoded, in its path or its query', async () => {
    for (const wrong of ['%', '%2', '%zz', '%ff', '%c3%28', '%ed%a0%80', '%c0%af', 'a%e4b'])
      for (const path of [
        `/v1/tickets/${wrong}`,
        `/v1/tickets/${wrong}/events`,
        `/v1/events?x=${wrong}`,
        `/v1/tickets/x/uploads/${wrong}`,
        `/v1/tickets?cursor=${wrong}`,
        `/problems/${wrong}`,
        `/${wrong}`,
      ])
        for (const method of ['GET', 'POST', 'OPTIONS']) {
          const lines = [`${method} ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${api.token}`];
          expectProblem(await sendRequest(gateway.url, lines), 400, 'malformed-request', `${method} ${path}`);
        }
    expect((await get('/problems/not%2Dfound')).status, 'what can be').to.equal(200);
  });

  it('get 400 for a whole URL that is none', async () => {
    for (const target of [
      'http://',
      'http://[',
      'http://[::1/healthz',
      'http://a[b/',
      'http://a:bc/',
      'ftp://a/',
      'healthz',
    ])
      expectProblem(await get(target), 400, 'malformed-request', target);
    expect((await get('http://x/healthz')).status, 'RFC 9112 section 3.2.2').to.equal(200);
  });

  it('must name one valid host, unless they are of HTTP/1.0', async () => {
    for (const lines of [
      ['GET /healthz HTTP/1.1', 'Accept: */*'],
      ['GET /healthz HTTP/1.1', 'Host:'],
      ['GET /healthz HTTP/1.1', 'Host: a', 'Host: b'],
      ['GET /healthz HTTP/1.1', 'Host: a b'],
      ['GET /healthz HTTP/1.1', 'Host: a/b'],
      ['GET /healthz HTTP/1.1', 'Host: a>b'],
      ['GET /healthz HTTP/1.1', 'Host: me@a'],
      ['GET /healthz HTTP/1.1', 'Host: a:port'],
    ])
      expectProblem(await sendRequest(gateway.url, lines), 400, 'malformed-request', lines.join());
    for (const host of ['example.com', 'example.com:8080', '[::1]', '[::1]:80', '127.0.0.1'])
      expect((await get('/healthz', `Host: ${host}`)).status, host).to.equal(200);
    const old = await sendRequest(
      gateway.url,
      [
        'POST /v1/tickets HTTP/1.0',
        `Authorization: Bearer ${api.token}`,
        'Content-Type: application/json',
        'Content-Length: 12',
      ],
      '{"images":1}',
    );
    expect(old.status).to.equal(201);
    expect(JSON.parse(old.body).uploadUrl, 'at the address it came to').to.match(
      new RegExp(`^${gateway.url}/v1/tickets/`),
    );
  });

  it('with an expectation that nobody knows are answered all the same', async () => {
    const { status, headers } = await get('/healthz', 'Expect: miracles');
    expect(status).to.equal(200);
    expect(headers['x-request-id']).to.match(UUID);
  });

  it('with any path get an answer below 500', async () => {
    const paths = [
      '/%',
      '/%zz',
      '/%00',
      '/%c0%af',
      '//',
      '//healthz',
      '/..',
      '/../../etc/passwd',
      '/%2e%2e/',
      '/v1/tickets/%',
      '/v1/tickets/%zz/events',
      '/v1/tickets/%ff/uploads',
      '/v1/tickets/%E0%A4%A/uploads/%',
      '/v1/tickets/a%2fb',
      '/v1/tickets/;',
      '/v1/tickets?%',
      '/v1/tickets?a[b]=c',
      '/v1/tickets?limit=%zz',
      '/v1/tickets?status=%ff',
      '/v1/tickets/?',
      '/?',
      '/:',
      '/v1/tickets/{id}',
      '/v1/tickets/(.*)',
      `/${'a/'.repeat(2000)}`,
      '*',
      'http://x/v1/tickets',
      'http://',
      '/\xe4',
    ];
    for (const path of paths)
      for (const method of ['GET', 'POST', 'PATCH', 'OPTIONS', 'PROPFIND']) {
        const { status } = await sendRequest(gateway.url, [
          `${method} ${path} HTTP/1.1`,
          'Host: x',
          `Authorization: Bearer ${api.token}`,
          'Tus-Resumable: 1.0.0',
          'Content-Length: 0',
        ]);
        expect(status, `${method} ${path}`).to.be.within(200, 499);
      }
  });

  it('for an unknown path get 404, for another method 405 with Allow, for OPTIONS what is allowed', async () => {
    for (const method of ['GET', 'POST', 'PUT', 'PROPFIND']) {
      for (const path of ['/v1', '/v1/ticket', '/nowhere', '/v1/tickets/a/b/c']) {
        const { status, body } = await api.call(method, path);
        expect([status, body.code], `${method} ${path}`).to.deep.equal([404, 'not-found']);
      }
    }
    const allowed: [path: string, allow: string][] = [
      ['/v1/tickets', 'GET, HEAD, POST'],
      ['/v1/auth/login', 'POST'],
      ['/v1/auth/logout', 'POST'],
      ['/v1/auth/password', 'POST'],
      ['/v1/events', 'GET, HEAD'],
      ['/v1/tickets/x', 'GET, HEAD'],
      ['/v1/tickets/x/events', 'GET, HEAD'],
      ['/v1/tickets/x/tokens', 'GET, HEAD'],
      ['/v1/tickets/x/tokens/y', 'DELETE'],
      ['/v1/tickets/x/uploads', 'POST, OPTIONS'],
      ['/v1/tickets/x/uploads/y', 'HEAD, PATCH, DELETE, OPTIONS'],
      ['/healthz', 'GET, HEAD'],
      ['/readyz', 'GET, HEAD'],
    ];
    for (const [path, allow] of allowed) {
      const put = await api.call('PUT', path);
      expect([put.status, put.body.code, put.headers.get('Allow')], path).to.deep.equal([
        405,
        'method-not-allowed',
        allow,
      ]);
      const strange = await api.call('PROPFIND', path);
      expect([strange.status, strange.headers.get('Allow')], path).to.deep.equal([405, allow]);
      if (allow.includes('OPTIONS')) continue;
      const options = await api.call('OPTIONS', path, { token: null });
      expect([options.status, options.headers.get('Allow'), options.body], path).to.deep.equal([204, allow, '']);
    }
  });

  it('by HEAD get what GET gets, without the body', async () => {
    const { id } = await api.openTicket(1);
    for (const path of [
      '/v1/tickets',
      `/v1/tickets/${id}`,
      '/v1/tickets/nonsense',
      '/v1/tickets?limit=0',
      '/healthz',
      '/readyz',
      '/nowhere',
    ]) {
      const [full, head] = [await api.call('GET', path), await api.call('HEAD', path)];
      expect(head.status, path).to.equal(full.status);
      expect(head.body, path).to.equal('');
      for (const name of ['Content-Type', 'ETag', 'Cache-Control'])
        expect(head.headers.get(name), `${path} ${name}`).to.equal(full.headers.get(name));
      expect(head.headers.get('Content-Length'), path).to.match(/^\d+$/);
    }
    const stream = await api.call('HEAD', `/v1/tickets/${id}/events`);
    expect([stream.status, stream.headers.get('Content-Type')]).to.deep.equal([200, 'text/event-stream']);
  });

  it('whose headers never end are ended', async () => {
    const server = await listen((_request, response) => response.end('ok'), {
      host: '127.0.0.1',
      port: 0,
      idleMs: 60_000,
      headersMs: 300,
    });
    try {
      const socket = open(server.url);
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
      // One header after the other keeps the connection busy, and does not help.
      const dripping = setInterval(() => socket.write('X-More: 1\r\n'), 50);
      const started = performance.now();
      const answer = parseAnswer((await socket.toArray()).join(''));
      clearInterval(dripping);
      expectProblem(answer, 400, 'malformed-request');
      expect(performance.now() - started).to.be.below(5_000);
    } finally {
      await server.close(0);
    }
  });

  it('that fall silent in the middle of a body are ended', async () => {
    const idle = await startTestGateway({ UPLOAD_IDLE_SECONDS: '1' });
    try {
      const { token } = await idle.createUser();
      const text = await sendBytes(
        idle.url,
        `POST /v1/tickets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{`,
      );
      expect(text, 'cut off without a word').to.equal('');
      expect((await createApi(idle.url, token).call('GET', '/v1/tickets')).status).to.equal(200);
    } finally {
      await idle.close();
    }
  });

  it('on one connection are answered in order, also after a refused one', async () => {
    const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.token}\r\n`;
    const text = await sendBytes(
      gateway.url,
      `${request('/v1/tickets')}\r\n${request('/nowhere')}\r\n${request('/v1/tickets?limit=0')}\r\n${request('/healthz')}Connection: close\r\n\r\n`,
    );
    expect(text.match(/HTTP\/1\.1 \d+/g)).to.deep.equal([
      'HTTP/1.1 200',
      'HTTP/1.1 404',
      'HTTP/1.1 422',
      'HTTP/1.1 200',
    ]);
  });
});
