import { expect } from 'chai';
import type { Answer } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

describe('other origins', () => {
  const { gateway, api } = useGateway();

  const origin = { Origin: 'https://app.example.com' };
  const every = async (headers: Record<string, string>): Promise<[about: string, answer: Answer][]> => {
    const { id } = await api.openTicket(1);
    const bad = { token: 'bad' };
    return [
      ['200', await api.call('GET', '/v1/tickets', { headers })],
      ['201', await api.call('POST', '/v1/tickets', { headers, body: { images: 1 } })],
      ['204', await api.call('OPTIONS', '/v1/tickets', { headers })],
      ['304', await api.call('GET', `/v1/tickets/${id}`, { headers: { ...headers, 'If-None-Match': '*' } })],
      [
        '400',
        await api.call('POST', '/v1/tickets', {
          headers: { ...headers, 'Content-Type': 'application/json' },
          body: Buffer.from('{'),
        }),
      ],
      ['401', await api.call('GET', '/v1/tickets', { headers, ...bad })],
      ['401', await api.call('GET', `/v1/tickets/${id}/events`, { headers, ...bad })],
      ['401', await api.call('PATCH', `/v1/tickets/${id}/uploads/x`, { headers, ...bad })],
      ['404', await api.call('GET', '/nowhere', { headers })],
      ['405', await api.call('PUT', '/v1/tickets', { headers })],
      ['412', await api.call('POST', `/v1/tickets/${id}/uploads`, { headers })],
      ['415', await api.call('POST', '/v1/tickets', { headers })],
      ['422', await api.call('POST', '/v1/tickets', { headers, body: {} })],
      ['200', await api.call('HEAD', `/v1/tickets/${id}/events`, { headers })],
      ['200', await api.call('GET', '/healthz', { headers })],
    ];
  };
  const preflight = (path: string, method: string, headers: string, from = origin) =>
    api.call('OPTIONS', path, {
      token: null,
      headers: { ...from, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': headers },
    });
  const listed = (answer: Answer, name: string) => (answer.headers.get(name) ?? '').toLowerCase().split(/\s*,\s*/);

  it('may read every answer, whatever its status', async () => {
    for (const [about, answer] of await every(origin)) {
      expect(`${answer.status}`).to.equal(about);
      expect(answer.headers.get('Access-Control-Allow-Origin'), about).to.equal('*');
      expect(listed(answer, 'Vary'), about).to.include('origin');
      expect(answer.headers.has('Access-Control-Allow-Credentials'), about).to.equal(false);
      // Without this a script cannot see them: https://fetch.spec.whatwg.org/#http-access-control-expose-headers
      if (about === '204') continue;
      expect(listed(answer, 'Access-Control-Expose-Headers'), about).to.include.members(
        [
          'Location',
          'Upload-Offset',
          'Upload-Length',
          'Tus-Resumable',
          'ETag',
          'Link',
          'Retry-After',
          'X-Request-Id',
          'Upload-Expires',
        ].map((name) => name.toLowerCase()),
      );
    }
  });

  it('may ask before: for REST and for tus, for any path, without a token', async () => {
    const id = '01890000-0000-7000-8000-000000000000';
    const tus =
      'authorization,content-type,tus-resumable,upload-length,upload-metadata,upload-offset,upload-defer-length,x-http-method-override,x-request-id';
    for (const [path, method, headers] of [
      ['/v1/tickets', 'POST', 'authorization,content-type,idempotency-key'],
      [`/v1/tickets/${id}`, 'GET', 'authorization,if-none-match'],
      [`/v1/tickets/${id}/events`, 'GET', 'authorization,last-event-id'],
      [`/v1/tickets/${id}/uploads`, 'POST', tus],
      [`/v1/tickets/${id}/uploads/${id}`, 'PATCH', tus],
      [`/v1/tickets/${id}/uploads/${id}`, 'HEAD', tus],
      [`/v1/tickets/${id}/uploads/${id}`, 'DELETE', tus],
      ['/nowhere', 'GET', 'authorization'],
    ] as const) {
      const answer = await preflight(path, method, headers);
      expect([answer.status, answer.body], path).to.deep.equal([204, '']);
      expect(answer.headers.get('Access-Control-Allow-Origin')).to.equal('*');
      expect(listed(answer, 'Access-Control-Allow-Methods'), path).to.include(method.toLowerCase());
      expect(listed(answer, 'Access-Control-Allow-Headers'), path).to.include.members(headers.split(','));
      expect(Number(answer.headers.get('Access-Control-Max-Age'))).to.be.above(0);
      expect(listed(answer, 'Vary')).to.include('origin');
    }
  });

  it('may send any request header, as long as its name is one', async () => {
    const path = '/v1/tickets';
    const allowed = async (headers: string) =>
      listed(await preflight(path, 'POST', headers), 'Access-Control-Allow-Headers');
    for (const name of ['traceparent', 'sentry-trace', 'baggage', 'cache-control', 'x-anything', "!#$%&'*+-.^_`|~9"])
      expect(await allowed(`authorization,${name}`), name).to.deep.equal(['authorization', name]);
    expect(await allowed('a , b,\tc'), 'with blanks').to.deep.equal(['a', 'b', 'c']);
    expect(await allowed('good,b d,<script>,ü,,also:bad,fine'), 'the names among them').to.deep.equal(['good', 'fine']);
    expect(await allowed('b d'), 'none').to.deep.equal(['']);
    expect(await allowed(Array.from({ length: 1_000 }, (_, index) => `x-${index}`).join())).to.have.length(100);
    expect(await allowed(`ok,${'x'.repeat(200)}`)).to.deep.equal(['ok']);
  });

  it('are let in by the list alone, where there is one', async () => {
    await gateway.restart({ ALLOWED_ORIGINS: 'https://app.example.com, https://m.example.com' });
    for (const [about, answer] of await every(origin)) {
      expect(answer.headers.get('Access-Control-Allow-Origin'), about).to.equal('https://app.example.com');
      expect(listed(answer, 'Vary'), about).to.include('origin');
    }
    for (const stranger of [
      'https://evil.example.com',
      'https://app.example.com.evil.com',
      'http://app.example.com',
      'null',
    ]) {
      for (const [about, answer] of await every({ Origin: stranger })) {
        expect(answer.headers.has('Access-Control-Allow-Origin'), about).to.equal(false);
        expect(listed(answer, 'Vary'), about).to.include('origin');
      }
      const asked = await preflight('/v1/tickets', 'POST', 'authorization', { Origin: stranger });
      expect(asked.headers.has('Access-Control-Allow-Origin')).to.equal(false);
    }
    expect(
      (await preflight('/v1/tickets', 'POST', 'authorization')).headers.get('Access-Control-Allow-Origin'),
    ).to.equal('https://app.example.com');
  });
});
