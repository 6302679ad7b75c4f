import { expect } from 'chai';
import { sendRequest, type WireAnswer } from '../http/raw.ts';
import { startTestGateway, useGateway } from '../support/gateway.ts';
import { type Clerk, hireAdmin } from './clerk.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'];
const ORIGIN = 'Origin: https://evil.example';

describe('headers of answers below /admin', function () {
  this.timeout(60_000);
  const { gateway } = useGateway();
  let admin: Clerk;
  before(async () => {
    admin = await hireAdmin(gateway, 'ada');
  });

  const expectHeaders = ({ headers, status }: WireAnswer, about: string) => {
    const policy = headers['content-security-policy'] ?? '';
    expect(policy, about).to.include("default-src 'none'").and.include("frame-ancestors 'none'");
    expect(policy, about).not.to.include('unsafe');
    expect(headers, about).to.include({
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'same-origin',
      'cross-origin-opener-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    });
    if (!about.includes('/assets/') || status !== 200) expect(headers['cache-control'], about).to.equal('no-store');
    const shared = Object.keys(headers).filter((name) => name.startsWith('access-control-'));
    expect(shared, about).to.deep.equal([]);
  };
  const ask = (request: string, ...lines: string[]) =>
    sendRequest(gateway.url, [`${request} HTTP/1.1`, 'Host: x', 'Content-Length: 0', ORIGIN, ...lines]);

  it('are there for every route and method, with and without a session', async () => {
    const paths = new Set(gateway.routes.map(({ path }) => path).filter((path) => path.startsWith('/admin')));
    expect(paths.size).to.be.above(15);
    const cookie = `Cookie: hopla_admin=${admin.cookies.get('hopla_admin')}`;
    for (const path of [...paths, '/admin/', '/admin/nothing', '/admin//log', '/admin/../x'])
      for (const method of METHODS) {
        expectHeaders(await ask(`${method} ${path}`), `${method} ${path}`);
        expectHeaders(await ask(`${method} ${path}`, cookie), `${method} ${path}, signed in`);
      }
  });

  it('are there for a preflight, which allows nothing', async () => {
    for (const path of ['/admin', '/admin/users/act', '/admin/nothing'])
      expectHeaders(await ask(`OPTIONS ${path}`, 'Access-Control-Request-Method: POST'), path);
  });

  it('are there for what is refused early', async () => {
    const refused: [status: number, lines: string[]][] = [
      [431, ['GET /admin/log HTTP/1.1', 'Host: a', `X-Large: ${'x'.repeat(20_000)}`, ORIGIN]],
      [431, [`GET /admin/log?q=${'x'.repeat(20_000)} HTTP/1.1`, 'Host: a', ORIGIN]],
      [400, ['GET /admin/%zz HTTP/1.1', 'Host: a', ORIGIN]],
      [400, ['GET /admin/log?q=%ff HTTP/1.1', 'Host: a', ORIGIN]],
      [400, ['GET /admin/log HTTP/1.1', 'Host: a b', ORIGIN]],
      [400, ['GET /admin/log HTTP/1.1', 'Host: a', 'Host: b', ORIGIN]],
      [400, ['GET /admin/log HTTP/1.1', ORIGIN]],
    ];
    for (const [status, lines] of refused) {
      const about = lines.join().slice(0, 100);
      const answer = await sendRequest(gateway.url, lines);
      expect(answer.status, about).to.equal(status);
      expectHeaders(answer, about);
    }
  });

  it('allow nobody anything where the request is too odd to know what it is for', async () => {
    for (const lines of [
      ['GET /admin/log HTTP/1.1', 'Host: a', `X-Large: ${'x'.repeat(65_600)}`, ORIGIN],
      ['GET /admin/log HTTP/1.1', 'Host: a', 'Bad Header: 1', ORIGIN],
      ['GET http://[/admin/log HTTP/1.1', 'Host: a', ORIGIN],
    ]) {
      const { headers } = await sendRequest(gateway.url, lines);
      expect(headers['content-security-policy']).to.equal("default-src 'none'; frame-ancestors 'none'");
      expect(headers).to.include({ 'x-frame-options': 'DENY', 'cache-control': 'no-store' });
      expect(headers).not.to.have.property('access-control-allow-origin');
    }
  });
});

describe('security headers of every answer', () => {
  it('allow nothing where a page does not say what it needs, and know HTTPS from PUBLIC_URL alone', async () => {
    const gateway = await startTestGateway();
    try {
      const all = async () => {
        const requests = ['GET /', 'GET /docs', 'GET /problems', 'GET /healthz', 'GET /nowhere', 'PUT /v1/tickets'];
        const answers = requests.map((line) => sendRequest(gateway.url, [`${line} HTTP/1.1`, 'Host: x']));
        return [
          ...(await Promise.all(answers)),
          await sendRequest(gateway.url, ['GET /healthz HTTP/1.1', 'Host: a b']),
          await sendRequest(gateway.url, ['GET /healthz HTTP/1.1', 'Host: x', 'Bad Header: 1']),
        ];
      };
      for (const { headers, body } of await all()) {
        expect(headers['content-security-policy'], body).to.include("default-src 'none'");
        expect(headers, body).to.include({ 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff' });
        expect(headers, body).not.to.have.property('strict-transport-security');
      }
      await gateway.restart({ PUBLIC_URL: 'https://photos.example' });
      for (const { headers, body } of await all())
        expect(headers['strict-transport-security'], body).to.equal('max-age=31536000');
    } finally {
      await gateway.close();
    }
  });
});
