import { expect } from 'chai';
import { until, untilCompleted } from '../../support/client.ts';
import { sha256Of } from '../../support/digest.ts';
import { useGateway } from '../../support/gateway.ts';
import { noise } from '../../support/image-parts.ts';
import { jpeg, png } from '../../support/images.ts';
import { listen } from '../events.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest, type RawAnswer } from '../raw.ts';

describe('an upload that is no acceptable image', () => {
  const photo = jpeg({ bytes: 50_000, seed: 3 });
  const { gateway, api } = useGateway({ MAX_IMAGE_PIXELS: '10000', ACCEPTED_TYPES: 'image/jpeg,image/png' });

  const open = async () => {
    const ticket = await api.openTicket(1);
    return { ticket, endpoint: createEndpoint(ticket) };
  };

  const bodies = {
    'is no image': [Buffer.from('<!doctype html>'.padEnd(20_000, 'x')), 415, 'unsupported-image', 1],
    'is noise': [noise(20_000, 5), 415, 'unsupported-image', 1],
    'is an image of a type that is not accepted': [
      Buffer.from('GIF89a\x10\0\x10\0\xf6\0\0'.padEnd(500, '\0'), 'latin1'),
      415,
      'unsupported-image',
      20,
    ],
    'has too many pixels': [png({ width: 101, height: 100, bytes: 90_000 }), 422, 'image-too-many-pixels', 33],
  } as const;

  for (const [what, [bytes, status, code, known]] of Object.entries(bodies)) {
    it(`is refused while it comes in, when it ${what}`, async () => {
      const { ticket, endpoint } = await open();
      const listener = await listen(ticket);
      const url = await endpoint.begin({ size: bytes.length });
      // The rest never comes: the answer does not wait for it.
      const patch = openRequest('PATCH', url, {
        token: endpoint.token,
        headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0', 'Content-Length': `${bytes.length}` },
      });
      const answer = answerTo(patch);
      patch.write(bytes.subarray(0, Math.max(known, 300)));
      expectProblem(await answer, status, code);
      patch.destroy();
      await expectGone(ticket.id, url, code);
      await until('the listeners know why', () =>
        listener.events.some(({ event, data }) => event === 'image' && data.error?.code === code && data.error.message),
      );
      await listener.close();
      await endpoint.begin({ size: photo.length, body: photo });
      await untilCompleted(api, ticket.id);
    });

    it(`is refused with its creation, when it ${what}`, async () => {
      const { ticket, endpoint } = await open();
      const answer = await endpoint.create({ size: bytes.length, body: bytes });
      expectProblem(answer, status, code);
      expect(answer.headers.location).to.equal(undefined);
      const { images } = await api.ticket(ticket.id);
      await expectGone(ticket.id, `${endpoint.uploadUrl}/${images[0].id}`, code);
    });
  }

  it('is refused at its first byte', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size: photo.length });
    expectProblem(await endpoint.patch(url, 0, Buffer.from('<')), 415, 'unsupported-image');
    await expectGone(ticket.id, url, 'unsupported-image');
  });

  it('is refused as soon as its length says that it ends before its header does', async () => {
    const { ticket, endpoint } = await open();
    const start = photo.subarray(0, 30);
    const url = await endpoint.begin({ size: null });
    expect((await endpoint.patch(url, 0, start)).status).to.equal(204);
    const last = await endpoint.patch(url, 30, Buffer.alloc(0), { headers: { 'Upload-Length': '30' } });
    expectProblem(last, 415, 'unsupported-image');
    await expectGone(ticket.id, url, 'unsupported-image');
  });

  it('is refused by what its last byte makes of it, when the gateway was restarted in between', async () => {
    const { ticket, endpoint } = await open();
    const bytes = jpeg({ width: 200, height: 200, bytes: 40_000, padding: 'before-frame' });
    const url = await endpoint.begin({ size: bytes.length });
    expect((await endpoint.patch(url, 0, bytes.subarray(0, 20_000))).status).to.equal(204);
    await gateway.restart();
    expectProblem(await endpoint.patch(url, 20_000, bytes.subarray(20_000)), 422, 'image-too-many-pixels');
    await expectGone(ticket.id, url, 'image-too-many-pixels');
  });

  it('is refused when it is not the file that its sha256 names', async () => {
    const other = sha256Of('other');
    const metadata = { sha256: other };
    const attempts: ((endpoint: ReturnType<typeof createEndpoint>) => Promise<RawAnswer>)[] = [
      (endpoint) => endpoint.create({ size: photo.length, body: photo, metadata }),
      async (endpoint) => endpoint.patch(await endpoint.begin({ size: photo.length, metadata }), 0, photo),
      async (endpoint) => {
        const url = await endpoint.begin({ size: photo.length, metadata, body: photo.subarray(0, 100) });
        return endpoint.patch(url, 100, photo.subarray(100));
      },
    ];
    for (const attempt of attempts) {
      const { ticket, endpoint } = await open();
      expectProblem(await attempt(endpoint), 422, 'checksum-mismatch');
      const { images } = await api.ticket(ticket.id);
      await expectGone(ticket.id, `${endpoint.uploadUrl}/${images[0].id}`, 'checksum-mismatch');
    }
  });

  it('is taken when it is the file that its sha256 names, in any case', async () => {
    const sha256 = sha256Of(photo);
    for (const metadata of [{ sha256 }, { sha256: sha256.toUpperCase() }]) {
      const { ticket, endpoint } = await open();
      await endpoint.begin({ size: photo.length, body: photo, metadata });
      const { images } = await untilCompleted(api, ticket.id);
      expect(images[0].sha256).to.equal(sha256);
    }
  });

  it('leaves nothing in staging', async () => {
    await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
  });

  async function expectGone(ticketId: string, url: string, code: string): Promise<void> {
    const endpoint = { token: api.token };
    const id = url.split('/').at(-1);
    const { counts, images, status } = await api.ticket(ticketId);
    expect(counts, 'the place is free').to.include({ uploading: 0, received: 0, failed: 0 });
    expect(status).to.equal('pending');
    const [image] = images;
    expect(image).to.include({ id, status: 'rejected' });
    expect(image.error.code).to.equal(code);
    expect(await gateway.stagedFiles()).not.to.include(id);
    const headers = { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0' };
    for (const method of ['HEAD', 'PATCH', 'DELETE']) {
      const request = openRequest(method, url, { ...endpoint, headers });
      const answer = answerTo(request);
      request.end();
      expect((await answer).status, method).to.equal(410);
      if (method !== 'HEAD') expectProblem(await answer, 410, 'upload-gone');
    }
  }
});
