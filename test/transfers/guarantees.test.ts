import { randomUUIDv7 } from 'node:crypto';
import { mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { createAdmin } from '../admin/admin.ts';
import { type Api, createApi, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createEndpoint, expectProblem } from '../uploads/raw.ts';
import { expectStoredOnce, untilImage } from './rig.ts';

/** Ways in which an acknowledged image could end without a person; docs/guarantees.md has the list. */
describe('an acknowledged image', () => {
  let gateway: TestGateway;
  let api: Api;
  const resting = { TRANSFER_CONCURRENCY: '0' };
  const photo = jpeg({ bytes: 60_000 });
  const size = photo.length;

  beforeEach(async () => {
    gateway = await startTestGateway(resting);
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  afterEach(() => gateway.close());

  /** An image that is received, and waits. */
  const receive = async (more: Record<string, unknown> = {}, slot = 'one') => {
    const ticket = await api.openTicket(1, more);
    const endpoint = createEndpoint(ticket);
    const url = await endpoint.begin({ size, metadata: { slot } });
    expect((await endpoint.patch(url, 0, photo)).status).to.equal(204);
    return { ticket, endpoint, url, imageId: url.split('/').at(-1) ?? '' };
  };
  const fail = async (one: Awaited<ReturnType<typeof receive>>) => {
    gateway.cloudinary.faults.add({ fault: { kind: 'media-limits', image_max_size_bytes: size - 1 } });
    await gateway.restart({ TRANSFER_CONCURRENCY: '1', MAX_IMAGE_BYTES: '52428800' });
    await untilImage(api, one, ['failed']);
  };
  const staged = (imageId: string) => readFile(join(gateway.config.STAGING_DIR, imageId));
  const expectStored = async (one: Awaited<ReturnType<typeof receive>>) => {
    const image = await untilImage(api, one, ['stored']);
    await expectStoredOnce(join(gateway.config.DATA_DIR, 'cloudinary'), image, photo);
  };

  it('cannot be rejected or expired by any statement: the table refuses it', async () => {
    const { imageId } = await receive();
    for (const status of ['rejected', 'expired', 'uploading']) {
      const error = await gateway
        .db('images')
        .where({ id: imageId })
        .update({ status })
        .then(
          () => expect.fail(`it is ${status}`),
          (reason) => reason,
        );
      expect(error.constraint).to.equal('images_acknowledged');
    }
  });

  it('is not cancelled by its client, neither while it waits nor when it failed', async () => {
    const one = await receive();
    expectProblem(await one.endpoint.remove(one.url), 422, 'upload-finished');
    await fail(one);
    expectProblem(await one.endpoint.remove(one.url), 422, 'upload-finished');
    expect((await staged(one.imageId)).equals(photo)).to.equal(true);
  });

  it('is what a DELETE that races with the last byte finds, or there is none, twenty times', async () => {
    const ticket = await api.openTicket(20);
    const endpoint = createEndpoint(ticket);
    const kept: string[] = [];
    for (let lap = 0; lap < 20; lap += 1) {
      const url = await endpoint.begin({ size, body: photo.subarray(0, size - 10) });
      const [patched, removed] = await Promise.all([
        endpoint.patch(url, size - 10, photo.subarray(size - 10)),
        endpoint.remove(url),
      ]);
      if (patched.status !== 204) expect(removed.status).to.equal(204);
      else {
        expectProblem(removed, 422, 'upload-finished');
        kept.push(url.split('/').at(-1) ?? '');
      }
    }
    expect((await gateway.stagedFiles()).sort()).to.deep.equal(kept.sort());
    expect((await api.ticket(ticket.id)).counts).to.include({ received: kept.length, uploading: 0 });
  });

  it('keeps its bytes when more are sent to it, or others', async () => {
    const { endpoint, url, imageId } = await receive();
    for (const [offset, bytes] of [
      [size, Buffer.alloc(100, 1)],
      [0, Buffer.alloc(size, 1)],
      [size - 10, Buffer.alloc(10, 1)],
    ] as const)
      expect((await endpoint.patch(url, offset, bytes)).status).to.be.within(409, 413);
    expect((await staged(imageId)).equals(photo)).to.equal(true);
  });

  it('keeps its place when it failed: its slot finds it, another size is refused, and the ticket is full', async () => {
    const one = await receive();
    await fail(one);
    const { endpoint, url } = one;
    const metadata = { slot: 'one' };
    expect((await endpoint.create({ size, metadata })).headers.location).to.equal(url);
    expectProblem(await endpoint.create({ size: size - 1, metadata }), 422, 'slot-mismatch');
    expectProblem(await endpoint.create({ size }), 422, 'ticket-full');
  });

  it('outlives the time of its ticket, waiting or failed', async () => {
    const waiting = await receive({}, 'waiting');
    const ticket = await api.openTicket(2);
    const endpoint = createEndpoint(ticket);
    const url = await endpoint.begin({ size, body: photo });
    const failed = { ticket, endpoint, url, imageId: url.split('/').at(-1) ?? '' };
    await fail(failed);
    await untilImage(api, waiting, ['failed']);
    await gateway.db('tickets').update({ expires_at: new Date(Date.now() - 1000) });
    await until('the ticket is closed', async () => (await api.ticket(ticket.id)).status === 'expired');
    expect((await api.ticket(ticket.id)).counts).to.include({ failed: 1 });
    expect((await gateway.stagedFiles()).sort()).to.deep.equal([waiting.imageId, failed.imageId].sort());
  });

  for (const state of ['completed', 'failed', 'cancelled'] as const) {
    it(`is queued again when its job is ${state} and it is not stored`, async () => {
      const one = await receive();
      await gateway.stop();
      await gateway.db('pgboss.job').where({ id: one.imageId }).update({ state, completed_on: gateway.db.fn.now() });
      await gateway.restart({ TRANSFER_CONCURRENCY: '1' });
      await expectStored(one);
    });
  }

  it('stays where a year has passed: its job waits, and is not swept away', async () => {
    const one = await receive();
    await gateway.stop();
    const past = gateway.db.raw("now() - interval '1 year'");
    await gateway.db('pgboss.job').where({ id: one.imageId }).update({ created_on: past, start_after: past });
    await gateway.db('images').where({ id: one.imageId }).update({ created_at: past, received_at: past });
    const path = join(gateway.config.STAGING_DIR, one.imageId);
    await utimes(path, new Date(0), new Date(0));
    await gateway.restart(resting);
    expect((await staged(one.imageId)).equals(photo)).to.equal(true);
    await gateway.restart({ TRANSFER_CONCURRENCY: '1' });
    await expectStored(one);
  });

  it('whose row was lost stays in quarantine until a person deletes it, however long that takes', async () => {
    await gateway.stop();
    const imageId = randomUUIDv7();
    const folder = join(gateway.config.STAGING_DIR, '.quarantine');
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, imageId), photo);
    await utimes(join(folder, imageId), new Date(0), new Date(0));
    await gateway.restart(resting);
    expect(await readdir(folder)).to.deep.equal([imageId]);
  });

  it('is sent again after an admin’s retry, however often it failed', async () => {
    const one = await receive();
    await fail(one);
    gateway.cloudinary.faults.clear();
    await gateway.restart({ TRANSFER_CONCURRENCY: '1' });
    await untilImage(api, one, ['failed']);
    const { code } = await createAdmin(gateway.config)(['images', 'retry', '--all']);
    expect(code).to.equal(0);
    await untilCompleted(api, one.ticket.id);
    await expectStored(one);
  });
});
