import { expect } from 'chai';
import { type Api, createApi, until, untilCompleted } from '../../support/client.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { openUnder } from '../leaks.ts';
import { answerTo, createEndpoint, type Endpoint, expectProblem, OFFSET_STREAM, openRequest } from '../raw.ts';

describe('an upload in each of its states', () => {
  const photo = jpeg({ bytes: 70_000 });
  const size = photo.length;
  let gateway: TestGateway;
  let api: Api;
  /** Nothing is transferred until a test restarts the gateway with workers. */
  const resting = { TRANSFER_CONCURRENCY: '0' };
  before(async () => {
    gateway = await startTestGateway(resting);
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  after(() => gateway.close());

  const open = async (images = 1) => {
    const ticket = await api.openTicket(images);
    return { ticket, endpoint: createEndpoint(ticket) };
  };
  const statusOf = async (ticketId: string) => (await api.ticket(ticketId)).images[0].status;

  async function expectComplete(endpoint: Endpoint, url: string): Promise<void> {
    const { status, headers } = await endpoint.head(url);
    expect(status).to.equal(200);
    expect(headers).to.include({
      'upload-offset': `${size}`,
      'upload-length': `${size}`,
      'cache-control': 'no-store',
      'tus-resumable': '1.0.0',
    });
    const late = await endpoint.patch(url, 0, photo);
    expectProblem(late, 409, 'offset-conflict');
    expect(late.headers['upload-offset']).to.equal(`${size}`);
    expect((await endpoint.patch(url, size, Buffer.alloc(0))).status).to.equal(204);
    expectProblem(await endpoint.remove(url), 422, 'upload-finished');
  }

  async function expectGone(endpoint: Endpoint, url: string): Promise<void> {
    expect((await endpoint.head(url)).status).to.equal(410);
    expectProblem(await endpoint.patch(url, 0, photo), 410, 'upload-gone');
    expectProblem(await endpoint.remove(url), 410, 'upload-gone');
  }

  it('tells what has come of one that is uploading, whatever became of the gateway', async () => {
    const { endpoint } = await open();
    const url = await endpoint.begin({ size });
    for (const offset of [0, 1, 40_000]) {
      if (offset > 0) {
        const before = Number((await endpoint.head(url)).headers['upload-offset']);
        await endpoint.patch(url, before, photo.subarray(before, offset));
      }
      const { status, headers } = await endpoint.head(url);
      expect(status).to.equal(200);
      expect(headers).to.include({ 'upload-offset': `${offset}`, 'upload-length': `${size}` });
    }
    await gateway.restart(resting);
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('40000');
    expect((await endpoint.patch(url, 40_000, photo.subarray(40_000))).status).to.equal(204);
    await expectComplete(endpoint, url);
  });

  it('is complete while it is received, transferring, stored, and after its staged file went', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size, body: photo });
    expect(await statusOf(ticket.id)).to.equal('received');
    await expectComplete(endpoint, url);
    const lift = gateway.cloudinary.faults.add({ fault: { kind: 'delay', ms: 1_500 } });
    await gateway.restart({ TRANSFER_CONCURRENCY: '2' });
    await until('the image is on its way', async () => (await statusOf(ticket.id)) === 'transferring');
    await expectComplete(endpoint, url);
    lift();
    await untilCompleted(api, ticket.id);
    await until('its file is gone', async () => (await gateway.stagedFiles()).length === 0);
    await expectComplete(endpoint, url);
    await gateway.restart(resting);
    await expectComplete(endpoint, url);
    expect(await gateway.stagedFiles()).to.deep.equal([]);
  });

  it('is complete when the storage has given up on it', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size, body: photo });
    const lift = gateway.cloudinary.faults.add({
      match: { operation: 'upload' },
      fault: { kind: 'status', status: 500 },
    });
    await gateway.restart({ TRANSFER_CONCURRENCY: '2', TRANSFER_ATTEMPTS: '1' });
    await until('the image has failed', async () => (await statusOf(ticket.id)) === 'failed');
    await expectComplete(endpoint, url);
    lift();
    await gateway.restart(resting);
  });

  it('is complete, and keeps its place, when the storage has refused it for good', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size, body: photo });
    const fault = { kind: 'status', status: 400, message: 'Invalid image file' } as const;
    const lift = gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault });
    await gateway.restart({ TRANSFER_CONCURRENCY: '2' });
    await until('the image has failed', async () => (await statusOf(ticket.id)) === 'failed');
    await expectComplete(endpoint, url);
    expectProblem(await endpoint.create({ size, body: photo }), 422, 'ticket-full');
    lift();
    await gateway.restart(resting);
  });

  it('is gone once it was cancelled, and its place is free', async () => {
    const { ticket, endpoint } = await open();
    for (const bytes of [0, 30_000]) {
      const url = await endpoint.begin({ size, body: photo.subarray(0, bytes) });
      const { status, body, headers } = await endpoint.remove(url);
      expect([status, body, headers['tus-resumable']]).to.deep.equal([204, '', '1.0.0']);
      await expectGone(endpoint, url);
      const ended = await api.ticket(ticket.id);
      expect(ended.counts.uploading).to.equal(0);
      expect(ended.images.at(-1).status).to.equal('cancelled');
      expect(await gateway.stagedFiles()).not.to.include(url.split('/').at(-1));
    }
    await endpoint.begin({ size, body: photo });
  });

  it('is gone once its ticket has expired, but not what was received', async () => {
    const { ticket, endpoint } = await open(2);
    const received = await endpoint.begin({ size, body: photo });
    const unfinished = await endpoint.begin({ size, body: photo.subarray(0, 5_000) });
    await gateway.db('tickets').where({ id: ticket.id }).update({ expires_at: gateway.db.fn.now() });
    await until('the upload has expired', async () => (await endpoint.head(unfinished)).status === 410);
    await expectGone(endpoint, unfinished);
    await expectComplete(endpoint, received);
    await until('its file is gone', async () => {
      return !(await gateway.stagedFiles()).includes(unfinished.split('/').at(-1) ?? '');
    });
    const { status, counts } = await api.ticket(ticket.id);
    expect(status).to.equal('expired');
    expect(counts).to.include({ uploading: 0, received: 1 });
  });

  it('is gone when its ticket expires while its bytes come in', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size });
    const patch = openRequest('PATCH', url, {
      token: endpoint.token,
      headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0', 'Content-Length': `${size}` },
    });
    const answer = answerTo(patch);
    patch.write(photo.subarray(0, 40_000));
    await until('the bytes are here', async () => (await api.ticket(ticket.id)).images[0].offset === 40_000);
    await gateway.db('tickets').where({ id: ticket.id }).update({ expires_at: gateway.db.fn.now() });
    await until('the upload has expired', async () => (await statusOf(ticket.id)) === 'expired');
    patch.end(photo.subarray(40_000));
    expectProblem(await answer, 410, 'upload-gone');
    await expectGone(endpoint, url);
    expect((await api.ticket(ticket.id)).counts).to.include({ uploading: 0, received: 0 });
    expect(await gateway.stagedFiles()).not.to.include(url.split('/').at(-1));
    await until('its file is closed', async () => (await openUnder(gateway.config.STAGING_DIR)).length === 0);
  });

  it('can be cancelled while its bytes come in', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size });
    const [patched, removed] = await Promise.all([endpoint.patch(url, 0, photo), endpoint.remove(url)]);
    const done = patched.status === 204;
    expect([patched.status, removed.status]).to.deep.equal(done ? [204, 422] : [patched.status, 204]);
    if (!done) expect(patched.status).to.be.oneOf([410, 423]);
    expect((await api.ticket(ticket.id)).counts.received).to.equal(done ? 1 : 0);
  });
});
