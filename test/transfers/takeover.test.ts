import { expect } from 'chai';
import { type Api, createApi, until } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { createEndpoint } from '../uploads/raw.ts';
import { createHost, type Hopla, type Host } from './child.ts';
import { type Begun, beginUpload, expectStoredOnce, untilImage } from './rig.ts';

const BYTES = 500_000;

describe('a process that is killed beside another', () => {
  let host: Host;
  let dying: Hopla;
  let survivor: Hopla;
  let api: Api;
  const photo = jpeg({ bytes: BYTES, seed: 1 });
  const half = jpeg({ bytes: BYTES, seed: 2 });
  let sending: Begun;
  let upload: { endpoint: ReturnType<typeof createEndpoint>; url: string; ticketId: string };
  let killedAt = 0;

  before(async () => {
    host = await createHost();
    // It alone has workers as long as the other one waits for its own.
    dying = await host.start({ TRANSFER_CONCURRENCY: '1' });
    const url = host.url;
    const dyingApi = createApi(url, host.token);
    const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, times: 1, fault: { kind: 'hang' } });
    sending = await beginUpload(dyingApi, await dyingApi.openTicket(1), photo);
    await sending.send();
    await until('it is being sent', async () => {
      const [image] = (await dyingApi.ticket(sending.ticket.id)).images;
      return image.status === 'transferring';
    });
    survivor = await host.start({ PORT: '0' });
    api = createApi(host.url, host.token);
    clear();
    const ticket = await dyingApi.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const there = await endpoint.begin({ size: half.length });
    expect((await endpoint.patch(there, 0, half.subarray(0, 200_000))).status).to.equal(204);
    upload = { endpoint, url: there.replace(url, host.url), ticketId: ticket.id };
    dying.kill('SIGKILL');
    expect(await dying.ended).to.equal('SIGKILL');
    killedAt = performance.now();
  });
  after(() => host.close());

  it('leaves its uploads to the other, which goes on at once', async () => {
    const { endpoint, url, ticketId } = upload;
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('200000');
    expect((await endpoint.patch(url, 200_000, half.subarray(200_000))).status).to.equal(204);
    expect(performance.now() - killedAt).to.be.lessThan(3_000);
    const ticket = await api.ticket(ticketId);
    const image = await untilImage(api, { ...sending, ticket, imageId: ticket.images[0].id }, ['stored']);
    await expectStoredOnce(host.cloudinaryDirectory, image, half);
  });

  it('leaves its transfers to the other, which sends them within 15 s', async () => {
    const image = await untilImage(api, sending, ['stored'], 15_000);
    expect(performance.now() - killedAt).to.be.lessThan(15_000);
    await expectStoredOnce(host.cloudinaryDirectory, image, photo);
    expect(survivor.lines.filter(({ msg }) => /^taking over transfers/.test(msg))).to.have.length(1);
    await until('staging is empty', async () => (await host.stagedFiles()).length === 0);
  });
});
