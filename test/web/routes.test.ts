import { expect } from 'chai';
import { errorKinds } from '../../src/model/errors.ts';

import { type Api, createApi } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

describe('the files of the pages', () => {
  let gateway: TestGateway;
  let api: Api;
  before(async () => {
    gateway = await startTestGateway();
    api = createApi(gateway.url, '');
  });
  after(() => gateway.close());
  const get = (path: string, headers?: Record<string, string>) =>
    api.call('GET', path, { token: null, ...(headers ? { headers } : {}) });

  it('serves the page under a policy that lets nothing inline run and nothing come from elsewhere', async () => {
    const { status, headers, body } = await get('/');
    expect(status).to.equal(200);
    const policy = headers.get('Content-Security-Policy') ?? '';
    const store = new URL(gateway.cloudinary.cloudinaryUrl).searchParams.get('upload_prefix');
    expect(policy).to.match(/^default-src 'none'; script-src 'self' 'sha256-[\w+/=]+'; style-src 'self'; /);
    expect(policy).to.include(`img-src 'self' blob: data: ${store}; `);
    expect(policy).to.include("connect-src 'self'; ").and.to.include("frame-ancestors 'none'");
    expect(policy).not.to.include('unsafe');
    expect(headers.get('X-Content-Type-Options')).to.equal('nosniff');
    expect(headers.get('Referrer-Policy')).to.equal('no-referrer');
    expect(headers.get('Cache-Control')).to.equal('no-cache');
    expect(body.match(/(?:src|href)="(?!\/|#)[^"]*"/g), 'nothing from other hosts').to.equal(null);
    expect((await get('/', ifNot(headers))).status).to.equal(304);
  });

  it('serves every file that the page names, to be kept for ever, compressed where the browser can', async () => {
    const page = await get('/');
    const paths: string[] = page.body.match(/\/assets\/[\w-]+\/[\w.-]+/g);
    expect(paths).to.have.length.greaterThan(6);
    for (const path of paths) {
      const { status, headers, body } = await get(path, { 'Accept-Encoding': 'identity' });
      expect(status, path).to.equal(200);
      expect(headers.get('Cache-Control'), path).to.equal('public, max-age=31536000, immutable');
      expect(headers.get('Vary'), path).to.match(/Accept-Encoding/i);
      const response = await fetch(new URL(path, gateway.url), { headers: { 'Accept-Encoding': 'br' } });
      expect(response.headers.get('Content-Encoding'), path).to.equal('br');
      expect(await response.text(), path).to.equal(body);
      expect((await get(path, { 'Accept-Encoding': 'identity', ...ifNot(headers) })).status, path).to.equal(304);
    }
  });

  it('lets no address of an older version be kept, and serves nothing that is not on the list', async () => {
    const older = await get('/assets/0000000000000000/app.js');
    expect(older.status).to.equal(200);
    expect(older.headers.get('Cache-Control')).to.equal('no-cache');
    for (const path of [
      '/assets/x/index.html',
      '/assets/x/wire.d.ts',
      '/assets/x/..%2Froutes.ts',
      '/assets/x/%2e%2e%2f%2e%2e%2fconfig.ts',
      '/assets/x/constructor',
      '/assets/app.js',
    ]) {
      expect((await get(path)).status, path).to.equal(404);
    }
    const posted = await api.call('POST', '/', { token: null, body: {} });
    expect(posted.status).to.equal(405);
  });

  it('explains every error code to a person, and no other', async () => {
    for (const [code, { title }] of Object.entries(errorKinds)) {
      const { status, headers, body } = await get(`/problems/${code}`);
      expect(status, code).to.equal(200);
      expect(headers.get('Content-Type')).to.equal('text/html; charset=utf-8');
      expect(headers.get('Content-Security-Policy')).to.match(
        /^default-src 'none'; style-src 'self'; img-src 'self'; /,
      );
      expect(body).to.include(`<h1>${title}</h1>`).and.to.include('<h2>What to do</h2>');
    }
    for (const code of ['no-such-code', 'toString', '%3Cscript%3E']) {
      expect((await get(`/problems/${code}`)).status, code).to.equal(404);
    }
  });
});

/** As a browser asks. By itself fetch() would add `Cache-Control: no-cache`, as for a forced reload. */
function ifNot(headers: Headers): Record<string, string> {
  return { 'If-None-Match': headers.get('ETag') ?? '', 'Cache-Control': 'max-age=0' };
}
