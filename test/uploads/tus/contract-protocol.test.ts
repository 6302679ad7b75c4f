import { expect } from 'chai';
import { createApi } from '../../support/client.ts';
import { useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createEndpoint, type Endpoint, expectProblem, expectReadable, OFFSET_STREAM, send } from '../raw.ts';

describe('the tus protocol', () => {
  const photo = jpeg({ bytes: 5_000 });
  const { gateway, api } = useGateway({ MAX_IMAGE_BYTES: '12345' });
  let endpoint: Endpoint;
  before(async () => {
    endpoint = createEndpoint(await api.openTicket(100));
  });

  it('tells its version, extensions and size limit', async () => {
    for (const url of [endpoint.uploadUrl, await endpoint.begin({ size: 10 })]) {
      const answer = await endpoint.send('OPTIONS', url, { headers: { 'Tus-Resumable': '0.0.1' } });
      expect(answer.status).to.equal(200);
      expect(answer.headers['tus-version']).to.equal('1.0.0');
      expect(answer.headers['tus-resumable']).to.equal('1.0.0');
      expect(answer.headers['tus-max-size']).to.equal('12345');
      expect(String(answer.headers['tus-extension']).split(',')).to.have.members([
        'creation',
        'creation-with-upload',
        'creation-defer-length',
        'termination',
        'expiration',
        'checksum',
        'checksum-trailer',
      ]);
      expect(answer.headers['tus-checksum-algorithm']).to.equal('sha1,md5,sha256,sha512,crc32');
      expectReadable(answer);
    }
  });

  it('answers the preflight of a browser, which carries no token', async () => {
    const { status, headers } = await send('OPTIONS', endpoint.uploadUrl, {
      token: null,
      headers: {
        'Access-Control-Request-Method': 'PATCH',
        'Access-Control-Request-Headers': 'authorization,tus-resumable,upload-offset',
      },
    });
    expect(status).to.equal(204);
    expect(headers['access-control-allow-origin']).to.equal('*');
    expect(headers['access-control-allow-methods']).to.match(/HEAD.*PATCH.*DELETE/);
    expect(headers['access-control-allow-headers']?.toLowerCase()).to.match(/authorization.*upload-offset/);
  });

  it('never serves what was uploaded', async () => {
    const url = await endpoint.begin({ size: photo.length, body: photo });
    for (const [address, allowed] of [
      [url, ['DELETE', 'HEAD', 'OPTIONS', 'PATCH']],
      [endpoint.uploadUrl, ['OPTIONS', 'POST']],
    ] as const) {
      const answer = await endpoint.send('GET', address);
      expectProblem(answer, 405, 'method-not-allowed');
      expect(answer.headers.allow?.split(', ').sort()).to.deep.equal(allowed);
    }
    expectProblem(await endpoint.send('PUT', url), 405, 'method-not-allowed');
    expectProblem(await endpoint.send('POST', url), 405, 'method-not-allowed');
    expectProblem(await endpoint.send('PATCH', endpoint.uploadUrl), 405, 'method-not-allowed');
  });

  it('takes the method from X-HTTP-Method-Override', async () => {
    const url = await endpoint.begin({ size: photo.length });
    const as = (method: string, more: Record<string, string> = {}, body?: Buffer) =>
      endpoint.send('POST', url, {
        headers: { 'X-HTTP-Method-Override': method, ...more },
        ...(body ? { body } : {}),
      });
    const patched = await as(
      'patch',
      { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0' },
      photo.subarray(0, 4_000),
    );
    expect(patched.status).to.equal(204);
    const looked = await as('HEAD');
    expect([looked.status, looked.headers['upload-offset']]).to.deep.equal([200, '4000']);
    expect((await as('OPTIONS')).headers['tus-version']).to.equal('1.0.0');
    expect((await as('DELETE')).status).to.equal(204);
    expect((await endpoint.head(url)).status).to.equal(410);
    expectProblem(await as('GET'), 405, 'method-not-allowed');
    // Of a ticket, not of an upload: there a POST stays a POST.
    const ticket = url.replace(/\/uploads.*/, '');
    const deleted = await send('POST', ticket, { token: api.token, headers: { 'X-HTTP-Method-Override': 'DELETE' } });
    expectProblem(deleted, 405, 'method-not-allowed');
  });

  it('answers 412 with its version to another version, or none, and does nothing', async () => {
    const url = await endpoint.begin({ size: photo.length });
    for (const version of ['0.2.2', '1.0', '', '1.0.0, 1.0.0']) {
      for (const method of ['POST', 'PATCH', 'HEAD', 'DELETE']) {
        const answer = await endpoint.send(method, method === 'POST' ? endpoint.uploadUrl : url, {
          headers: {
            'Tus-Resumable': version,
            'Content-Type': OFFSET_STREAM,
            ...(method === 'POST' ? { 'Upload-Length': '10' } : { 'Upload-Offset': '0' }),
          },
        });
        expect(answer.status, `${method} ${version}`).to.equal(412);
        expect(answer.headers['tus-version']).to.equal('1.0.0');
        if (method !== 'HEAD') expectProblem(answer, 412, 'unsupported-tus-version');
      }
    }
    expect((await endpoint.head(url)).status).to.equal(200);
  });

  it('refuses a PATCH of another content type, and takes nothing of it', async () => {
    const url = await endpoint.begin({ size: photo.length });
    for (const type of ['application/octet-stream', 'image/jpeg', `${OFFSET_STREAM}s`, '']) {
      const answer = await endpoint.patch(url, 0, photo, { headers: { 'Content-Type': type } });
      expectProblem(answer, 415, 'unsupported-media-type');
    }
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('0');
  });

  it('refuses a PATCH without a proper offset', async () => {
    const url = await endpoint.begin({ size: photo.length });
    for (const offset of ['', '-1', '1.5', '0x10', 'zero', '0, 0', '99999999999999999999']) {
      const answer = await endpoint.patch(url, 0, photo, { headers: { 'Upload-Offset': offset } });
      expectProblem(answer, 400, 'malformed-request');
    }
  });

  it('tells the true offset to a PATCH at another, and takes nothing of it', async () => {
    const url = await endpoint.begin({ size: photo.length });
    await endpoint.patch(url, 0, photo.subarray(0, 3_000));
    for (const offset of [0, 2_999, 3_001, 99_999]) {
      const answer = await endpoint.patch(url, offset, photo.subarray(0, 10));
      expectProblem(answer, 409, 'offset-conflict');
      expect(answer.headers['upload-offset']).to.equal('3000');
    }
    expect((await endpoint.patch(url, 3_000, photo.subarray(3_000))).headers['upload-offset']).to.equal('5000');
    const late = await endpoint.patch(url, 3_000, photo.subarray(3_000));
    expectProblem(late, 409, 'offset-conflict');
    expect(late.headers['upload-offset']).to.equal('5000');
  });

  it('knows no upload by another name, of another ticket, or of another user', async () => {
    const id = (await endpoint.begin({ size: photo.length })).split('/').at(-1) ?? '';
    const other = createEndpoint(await api.openTicket(1));
    const strange = [
      id.toUpperCase(),
      `${id}0`,
      `{${id}}`,
      '019a0000-0000-7000-8000-000000000000',
      'x',
      '%2e%2e',
      '%2e%2e%2fetc%2fpasswd',
      '..%5c..',
      '%00',
      `${id}%00`,
      '.staging-id',
    ];
    for (const name of strange) {
      for (const method of ['HEAD', 'PATCH', 'DELETE']) {
        const answer = await endpoint.send(method, `${endpoint.uploadUrl}/${name}`, {
          headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0' },
        });
        expect(answer.status, `${method} ${name}`).to.equal(404);
        if (method !== 'HEAD') expectProblem(answer, 404, 'upload-not-found');
      }
    }
    for (const name of ['%zz', '%ff']) {
      const answer = await endpoint.send('DELETE', `${endpoint.uploadUrl}/${name}`);
      expectProblem(answer, 400, 'malformed-request');
    }
    const moved = `${other.uploadUrl}/${id}`;
    expectProblem(await other.patch(moved, 0, photo), 404, 'upload-not-found');
    expectProblem(await other.remove(moved), 404, 'upload-not-found');
    expect((await other.head(moved)).status).to.equal(404);
    const stranger = createApi(gateway.url, (await gateway.createUser()).token);
    for (const token of [other.token, stranger.token]) {
      const answer = await send('DELETE', `${endpoint.uploadUrl}/${id}`, { token });
      expectProblem(answer, 404, 'ticket-not-found');
    }
    expect((await endpoint.head(`${endpoint.uploadUrl}/${id}`)).status).to.equal(200);
  });

  it('does not follow dots out of its path', async () => {
    for (const path of ['/../..', '/../../../../etc/passwd', '/..', '/a/b', '//'])
      for (const method of ['HEAD', 'DELETE', 'PATCH']) {
        const answer = await endpoint.send(method, endpoint.uploadUrl + path, {
          headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0' },
        });
        expect(answer.status, `${method} ${path}`).to.be.oneOf([404, 405]);
      }
  });

  it('asks for a token on every verb, before anything else', async () => {
    const url = await endpoint.begin({ size: photo.length });
    for (const method of ['HEAD', 'PATCH', 'DELETE', 'OPTIONS', 'POST']) {
      for (const token of [null, 'hop_nonsense']) {
        const answer = await send(method, method === 'POST' ? endpoint.uploadUrl : url, {
          token,
          headers: { 'Upload-Length': '0', 'Upload-Offset': '77', 'Tus-Resumable': '0' },
        });
        expect(answer.status, method).to.equal(401);
        expect(answer.headers['www-authenticate']).to.match(/^Bearer/);
        if (method !== 'HEAD') expectProblem(answer, 401, 'unauthorized');
      }
    }
    const { status } = await send('HEAD', url, { token: api.token });
    expect(status, 'a user token opens its own tickets too').to.equal(200);
  });

  it('is not put off by headers of proxies', async () => {
    const url = await endpoint.begin({ size: 10, headers: { 'X-Forwarded-Proto': 'https,http' } });
    expect(url).to.match(/^http:/);
  });

  it('is not put off by headers that belong to other requests', async () => {
    const headers = {
      'Upload-Metadata': 'filename YS5qcGc=, filetype aW1hZ2UvanBlZw==',
      'Upload-Length': 'unknown',
      'Upload-Offset': '007',
      'Upload-Checksum': 'sha1',
      'Upload-Concat': 'none',
      'Content-Type': 'application/json',
    };
    const url = await endpoint.begin({ size: 10 });
    for (const [method, status] of [
      ['HEAD', 200],
      ['OPTIONS', 200],
      ['DELETE', 204],
    ] as const)
      expect((await endpoint.send(method, url, { headers })).status, method).to.equal(status);
  });

  it('speaks to a caller by the request id the caller chose', async () => {
    const answer = await endpoint.send('HEAD', endpoint.uploadUrl, { headers: { 'X-Request-Id': 'phone-17.a:b' } });
    expect(answer.headers['x-request-id']).to.equal('phone-17.a:b');
  });
});
