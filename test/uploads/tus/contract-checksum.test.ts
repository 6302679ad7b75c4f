import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { expect } from 'chai';
import * as tus from 'tus-js-client';
import { createApi, until, untilCompleted } from '../../support/client.ts';
import { sha256Of } from '../../support/digest.ts';
import { startTestGateway, useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createHost, type Host } from '../../transfers/child.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest, type RawAnswer } from '../raw.ts';

const ALGORITHMS = ['sha1', 'md5', 'sha256', 'sha512', 'crc32'];

function checksumOf(algorithm: string, bytes: Buffer): string {
  const digest = algorithm === 'crc32' ? Buffer.alloc(4) : createHash(algorithm).update(bytes).digest();
  if (algorithm === 'crc32') digest.writeUInt32BE(crc32(bytes));
  return `${algorithm} ${digest.toString('base64')}`;
}

/** One bit of it is another. */
function damaged(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(copy.length - 1) ^ 1, copy.length - 1);
  return copy;
}

describe('a body with a checksum', () => {
  const photo = jpeg({ bytes: 3_000_000, seed: 31 });
  const { gateway, api } = useGateway();

  const open = async (size: number | null = photo.length, images = 1) => {
    const ticket = await api.openTicket(images);
    const endpoint = createEndpoint(ticket);
    return { ticket, endpoint, url: await endpoint.begin({ size }) };
  };
  /** No body waits in a file of its own. */
  const expectNothingWaits = async () => {
    const names = await readdir(gateway.config.STAGING_DIR);
    const hidden = names.filter((name) => name.startsWith('.'));
    expect(hidden.sort()).to.deep.equal(['.peers', '.staging-id']);
  };
  const expectStored = async (ticketId: string) => {
    const { images } = await untilCompleted(api, ticketId);
    expect(images.map(({ sha256 }: { sha256: string }) => sha256)).to.deep.equal([sha256Of(photo)]);
  };
  /** Sends a body in chunks, with its checksum behind it. */
  const sendTrailer = (
    url: string,
    token: string,
    body: Buffer,
    trailer: Record<string, string>,
  ): Promise<RawAnswer> => {
    const headers = { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0', 'Transfer-Encoding': 'chunked' };
    const patch = openRequest('PATCH', url, { token, headers: { ...headers, Trailer: 'X-Other, Upload-Checksum' } });
    const answer = answerTo(patch);
    patch.addTrailers(trailer);
    patch.end(body);
    return answer;
  };

  for (const algorithm of ALGORITHMS) {
    it(`is taken when its ${algorithm} is right, and not a byte of it when it is not`, async () => {
      const { ticket, endpoint, url } = await open();
      const halves = [photo.subarray(0, 1_500_000), photo.subarray(1_500_000)];
      for (const [n, half] of halves.entries()) {
        const headers = { 'Upload-Checksum': checksumOf(algorithm, half) };
        const offset = n * 1_500_000;
        for (const more of [{}, { chunkBytes: 70_000 }]) {
          const wrong = await endpoint.patch(url, offset, damaged(half), { headers, ...more });
          expectProblem(wrong, 460, 'upload-checksum-mismatch');
          expect((await endpoint.head(url)).headers['upload-offset']).to.equal(`${offset}`);
        }
        const right = await endpoint.patch(url, offset, half, { headers, ...(n === 0 ? { chunkBytes: 70_000 } : {}) });
        expect([right.status, right.headers['upload-offset']]).to.deep.equal([204, `${offset + half.length}`]);
      }
      await expectStored(ticket.id);
      await expectNothingWaits();
    });
  }

  it('may tell the checksum in a trailer', async () => {
    const { ticket, endpoint, url } = await open();
    const send = (body: Buffer, trailer: Record<string, string>) => sendTrailer(url, endpoint.token, body, trailer);
    expectProblem(
      await send(damaged(photo), { 'Upload-Checksum': checksumOf('md5', photo) }),
      460,
      'upload-checksum-mismatch',
    );
    expectProblem(await send(photo, {}), 400, 'malformed-request');
    expectProblem(await send(photo, { 'Upload-Checksum': 'sha1 nonsense' }), 400, 'malformed-request');
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('0');
    expect((await send(photo, { 'Upload-Checksum': checksumOf('sha512', photo) })).status).to.equal(204);
    await expectStored(ticket.id);
  });

  it('that cannot be understood is refused unread', async () => {
    const { endpoint, url } = await open();
    const right = checksumOf('sha1', photo);
    for (const checksum of [
      'sha1',
      'sha384 abc=',
      'SHA1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=',
      'constructor Kq5sNclPz7QV2+lfQIuc6R7oRu0=',
      // The hex digits of a digest, as base64 of their own.
      `sha1 ${Buffer.from(createHash('sha1').update(photo).digest('hex')).toString('base64')}`,
      `${right} ${right}`,
      `${right}, ${right}`,
      right.replace('=', ''),
      `${right}=`,
    ]) {
      const headers = { 'Upload-Checksum': checksum };
      expectProblem(await endpoint.patch(url, 0, photo, { headers }), 400, 'malformed-request');
    }
    const none = await endpoint.patch(url, 0, photo, { headers: { 'Upload-Checksum': 'sha384 abc=' } });
    expect(none.headers['tus-checksum-algorithm']).to.equal(ALGORITHMS.join(','));
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('0');
  });

  it('may come with the creation, which takes no place when it is wrong', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const headers = { 'Upload-Checksum': checksumOf('sha256', photo) };
    for (const more of [{}, { chunkBytes: 100_000 }]) {
      const wrong = await endpoint.create({ size: photo.length, body: damaged(photo), headers, ...more });
      expectProblem(wrong, 460, 'upload-checksum-mismatch');
    }
    expect((await api.ticket(ticket.id)).images).to.deep.equal([]);
    await expectNothingWaits();
    const right = await endpoint.create({ size: photo.length, body: photo, headers });
    expect([right.status, right.headers['upload-offset']]).to.deep.equal([201, `${photo.length}`]);
    await expectStored(ticket.id);
  });

  it('may be that of a file which a creation announces without bringing it', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    // tusc.sh encodes the hex digits.
    const hex = Buffer.from(createHash('sha1').update(photo).digest('hex')).toString('base64');
    const url = await endpoint.begin({ size: photo.length, headers: { 'Upload-Checksum': `sha1 ${hex}` } });
    await endpoint.patch(url, 0, photo);
    await expectStored(ticket.id);
  });

  it('is refused like any other where it does not fit, and where it is no image', async () => {
    const { endpoint, url } = await open();
    const longer = Buffer.concat([photo, Buffer.alloc(1)]);
    const headers = { 'Upload-Checksum': checksumOf('sha1', longer) };
    for (const more of [{}, { chunkBytes: 100_000 }])
      expectProblem(await endpoint.patch(url, 0, longer, { headers, ...more }), 413, 'length-exceeded');
    expectProblem(await endpoint.patch(url, 7, photo, { headers }), 409, 'offset-conflict');
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('0');
    const noise = Buffer.alloc(50_000);
    const other = await endpoint.patch(url, 0, noise, { headers: { 'Upload-Checksum': checksumOf('sha1', noise) } });
    expectProblem(other, 415, 'unsupported-image');
  });

  it('that breaks off leaves nothing, as nobody knows whether it was right', async () => {
    const { ticket, endpoint, url } = await open();
    await endpoint.patch(url, 0, photo.subarray(0, 1_000));
    const patch = openRequest('PATCH', url, {
      token: endpoint.token,
      headers: {
        'Content-Type': OFFSET_STREAM,
        'Upload-Offset': '1000',
        'Content-Length': `${photo.length - 1_000}`,
        'Upload-Checksum': checksumOf('sha1', photo.subarray(1_000)),
      },
    });
    const cut = answerTo(patch).catch((error: Error) => error);
    patch.write(photo.subarray(1_000, 2_000_000));
    // Asked for by another request, it lets go and keeps nothing.
    await until('the body is being received', () => (patch.socket?.bytesWritten ?? 0) > 1_900_000);
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('1000');
    expect((await cut) as RawAnswer).to.include({ status: 423 });
    patch.destroy();
    await expectNothingWaits();
    await endpoint.patch(url, 1_000, photo.subarray(1_000));
    await expectStored(ticket.id);
  });

  it('gives its room in staging back, right or wrong', async () => {
    const bytes = { MAX_IMAGE_BYTES: `${photo.length}`, STAGING_BUDGET_BYTES: `${photo.length * 2}` };
    const small = await startTestGateway(bytes);
    try {
      const owner = createApi(small.url, (await small.createUser()).token);
      const headers = { 'Upload-Checksum': checksumOf('sha1', photo) };
      for (let n = 0; n < 3; n++) {
        const ticket = await owner.openTicket(1);
        const endpoint = createEndpoint(ticket);
        const url = await endpoint.begin({ size: photo.length });
        expect((await endpoint.patch(url, 0, damaged(photo), { headers })).status).to.equal(460);
        expect((await endpoint.patch(url, 0, photo, { headers })).status).to.equal(204);
        await untilCompleted(owner, ticket.id);
      }
    } finally {
      await small.close();
    }
  });

  it('that is wrong ends an upload of tus-js-client, which then goes on from there', async () => {
    const ticket = await api.openTicket(1);
    let wrong = true;
    const upload = (url: string | null) =>
      new Promise<string>((resolve, reject) => {
        const options: tus.UploadOptions = {
          endpoint: ticket.uploadUrl,
          uploadUrl: url,
          headers: { Authorization: `Bearer ${ticket.uploadToken}` },
          metadata: { slot: 'one' },
          retryDelays: [0, 10],
          onBeforeRequest(request) {
            if (request.getMethod() !== 'PATCH') return;
            request.setHeader('Upload-Checksum', checksumOf('sha1', wrong ? damaged(photo) : photo));
          },
          onError: reject,
          onSuccess: () => resolve(begun.url ?? ''),
        };
        const begun = new tus.Upload(photo, options);
        begun.start();
      });
    const error = await upload(null).catch((refused: tus.DetailedError) => refused);
    expect((error as tus.DetailedError).originalResponse?.getStatus()).to.equal(460);
    wrong = false;
    await upload(null);
    await expectStored(ticket.id);
  });
});

describe('a process that is killed while it receives a body with a checksum', () => {
  let host: Host;
  before(async () => {
    host = await createHost();
  });
  after(() => host.close());

  it('leaves nothing of it', async () => {
    const photo = jpeg({ bytes: 4_000_000, seed: 32 });
    const hopla = await host.start();
    const api = createApi(host.url, host.token);
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const url = await endpoint.begin({ size: photo.length, body: photo.subarray(0, 1_000) });
    const patch = openRequest('PATCH', url, {
      token: endpoint.token,
      headers: {
        'Content-Type': OFFSET_STREAM,
        'Upload-Offset': '1000',
        'Content-Length': `${photo.length - 1_000}`,
        'Upload-Checksum': checksumOf('sha1', photo.subarray(1_000)),
      },
    });
    const cut = answerTo(patch).catch((error: Error) => error);
    patch.write(photo.subarray(1_000, 3_500_000));
    await until(
      'the body is received but for its end',
      () => patch.writableLength === 0 && patch.socket?.writableLength === 0,
    );
    hopla.kill('SIGKILL');
    await hopla.ended;
    expect(await cut).to.be.instanceOf(Error);
    await host.start();
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('1000');
    expect(await host.stagedFiles()).to.deep.equal([url.split('/').at(-1)]);
    expect((await endpoint.patch(url, 1_000, photo.subarray(1_000))).status).to.equal(204);
    const { images } = await untilCompleted(api, ticket.id);
    expect(images[0].sha256).to.equal(sha256Of(photo));
  }).timeout(60_000);
});
