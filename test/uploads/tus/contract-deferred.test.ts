import { expect } from 'chai';
import { untilCompleted } from '../../support/client.ts';
import { useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createEndpoint, expectProblem } from '../raw.ts';

describe('an upload whose length comes later', () => {
  const photo = jpeg({ bytes: 30_000 });
  const { gateway, api } = useGateway({ MAX_IMAGE_BYTES: '100000' });

  const open = async (images = 1) => {
    const ticket = await api.openTicket(images);
    const endpoint = createEndpoint(ticket);
    return { ticket, endpoint, url: await endpoint.begin({ size: null }) };
  };
  const declare = (size: number | string) => ({ headers: { 'Upload-Length': `${size}` } });
  const nothing = Buffer.alloc(0);

  it('is complete once it has all bytes of the length it is given', async () => {
    const { ticket, endpoint, url } = await open();
    const before = await endpoint.head(url);
    expect([before.headers['upload-defer-length'], before.headers['upload-length']]).to.deep.equal(['1', undefined]);
    expect((await endpoint.patch(url, 0, photo.subarray(0, 10_000))).status).to.equal(204);
    expect((await api.ticket(ticket.id)).images[0]).to.include({ size: null, offset: 10_000, status: 'uploading' });
    await endpoint.patch(url, 10_000, photo.subarray(10_000, 20_000), declare(photo.length));
    const after = await endpoint.head(url);
    expect(after.headers).to.include({ 'upload-length': `${photo.length}`, 'upload-offset': '20000' });
    expect(after.headers).not.to.have.property('upload-defer-length');
    await endpoint.patch(url, 20_000, photo.subarray(20_000));
    const { images, bytes } = await untilCompleted(api, ticket.id);
    expect(images[0].size).to.equal(photo.length);
    expect(bytes).to.deep.equal({ received: photo.length, stored: photo.length, total: photo.length });
  });

  it('is complete when the length alone comes last', async () => {
    const { ticket, endpoint, url } = await open();
    await endpoint.patch(url, 0, photo, { chunkBytes: 4_096 });
    const answer = await endpoint.patch(url, photo.length, nothing, declare(photo.length));
    expect([answer.status, answer.headers['upload-offset']]).to.deep.equal([204, `${photo.length}`]);
    await untilCompleted(api, ticket.id);
  });

  it('is complete with one PATCH that has both', async () => {
    const { ticket, endpoint, url } = await open();
    expect((await endpoint.patch(url, 0, photo, declare(photo.length))).status).to.equal(204);
    await untilCompleted(api, ticket.id);
  });

  it('keeps the length it was given, and lets a client that was cut off repeat it', async () => {
    const { ticket, endpoint, url } = await open();
    await endpoint.patch(url, 0, photo.subarray(0, 10), declare(photo.length));
    for (const size of [photo.length - 1, photo.length + 1])
      expectProblem(await endpoint.patch(url, 10, photo.subarray(10), declare(size)), 400, 'malformed-request');
    // As tus-js-client does with the piece that it takes for the last.
    const again = await endpoint.patch(url, 10, photo.subarray(10), declare(photo.length));
    expect([again.status, again.headers['upload-offset']]).to.deep.equal([204, `${photo.length}`]);
    expect((await endpoint.patch(url, photo.length, nothing, declare(photo.length))).status).to.equal(204);
    expect((await untilCompleted(api, ticket.id)).images[0].size).to.equal(photo.length);
    const known = await createEndpoint(await api.openTicket(1));
    const other = await known.begin({ size: photo.length });
    expectProblem(await known.patch(other, 0, photo, declare(photo.length + 1)), 400, 'malformed-request');
    expect((await known.patch(other, 0, photo, declare(photo.length))).status).to.equal(204);
  });

  it('takes no length that it has passed, and no nonsense', async () => {
    const { endpoint, url } = await open();
    await endpoint.patch(url, 0, photo.subarray(0, 100));
    for (const size of [99, '-1', '1e5', '1.5'])
      expectProblem(await endpoint.patch(url, 100, nothing, declare(size)), 400, 'malformed-request');
    expect((await endpoint.head(url)).headers['upload-defer-length']).to.equal('1');
  });

  it('is over, and its place free, when the length is one that no image has', async () => {
    for (const [size, status, code] of [
      [0, 422, 'empty-image'],
      [100_001, 413, 'image-too-large'],
    ] as const) {
      const { ticket, endpoint, url } = await open();
      expectProblem(await endpoint.patch(url, 0, nothing, declare(size)), status, code);
      expect((await endpoint.head(url)).status).to.equal(410);
      const { counts, images } = await api.ticket(ticket.id);
      expect(counts.uploading).to.equal(0);
      expect(images[0]).to.include({ status: 'rejected' });
      expect(images[0].error.code).to.equal(code);
      await endpoint.begin({ size: 10 });
    }
  });

  it('is over, and its place free, when more bytes come than any image has', async () => {
    for (const more of [{}, { chunkBytes: 10_000 }]) {
      const { endpoint, url } = await open();
      await endpoint.patch(url, 0, photo);
      const answer = await endpoint.patch(url, photo.length, Buffer.alloc(70_001), more);
      expectProblem(answer, 413, 'image-too-large');
      expect((await endpoint.head(url)).status).to.equal(410);
      expect(await gateway.stagedFiles()).not.to.include(url.split('/').at(-1));
      await endpoint.begin({ size: 10 });
    }
  });

  it('can be as large as the largest image', async () => {
    const { ticket, endpoint, url } = await open();
    await endpoint.patch(url, 0, jpeg({ bytes: 100_000 }), { chunkBytes: 10_000 });
    expect((await endpoint.patch(url, 100_000, nothing, declare(100_000))).status).to.equal(204);
    await untilCompleted(api, ticket.id);
  });
});
