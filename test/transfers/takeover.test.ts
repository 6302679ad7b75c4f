import { expect } from 'chai';
import { type Api, createApi, until } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { createEndpoint } from '../uploads/raw.ts';
import { createHost, type Hopla, type Host } from './child.ts';
import { type Begun, beginUpload, expectStoredOnce, untilImage } from './rig.ts';

const BYTES = 500_000;

describe('a process that is killed beside another', () => {
  let host: Host;
  let survivor: Hopla;
  let api: Api;
  let sending: { begun: Begun; bytes: Buffer }[];
  let upload: { endpoint: ReturnType<typeof createEndpoint>; url: string; ticketId: string };
  let killedAt = 0;
  const photo = (seed: number) => jpeg({ bytes: BYTES, seed });
  const half = photo(0);
  const jobsUnderWay = async () =>
    (await host.db.raw(`SELECT count(*)::int AS count FROM pgboss.job WHERE state = 'active'`)).rows[0].count;

  before(async () => {
    host = await createHost();
    const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'hang' } });
    survivor = await host.start({ TRANSFER_CONCURRENCY: '1', TRANSFER_TIMEOUT_SECONDS: '5' });
    api = createApi(host.url, host.token);
    const { url } = host;
    const dying = await host.start({ PORT: '0', TRANSFER_CONCURRENCY: '1' });
    sending = await Promise.all(
      [1, 2].map(async (seed) => {
        const begun = await beginUpload(api, await api.openTicket(1), photo(seed));
        await begun.send();
        return { begun, bytes: photo(seed) };
      }),
    );
    const ticket = await createApi(host.url, host.token).openTicket(1);
    const endpoint = createEndpoint(ticket);
    const there = await endpoint.begin({ size: half.length });
    expect((await endpoint.patch(there, 0, half.subarray(0, 200_000))).status).to.equal(204);
    upload = { endpoint, url: there.replace(host.url, url), ticketId: ticket.id };
    await until('each of them sends one', async () => (await jobsUnderWay()) === 2);
    dying.kill('SIGKILL');
    expect(await dying.ended).to.equal('SIGKILL');
    killedAt = performance.now();
    clear();
  });
  after(() => host.close());

  it('leaves its uploads to the other, which goes on at once', async () => {
    const { endpoint, url, ticketId } = upload;
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('200000');
    expect((await endpoint.patch(url, 200_000, half.subarray(200_000))).status).to.equal(204);
    expect(performance.now() - killedAt).to.be.lessThan(3_000);
    const ticket = await api.ticket(ticketId);
    const image = await untilImage(api, { ticket, imageId: ticket.images[0].id }, ['stored']);
    await expectStoredOnce(host.cloudinaryDirectory, image, half);
  });

  it('leaves its transfers to the other, which sends them within 15 s', async () => {
    for (const { begun, bytes } of sending)
      await expectStoredOnce(host.cloudinaryDirectory, await untilImage(api, begun, ['stored'], 15_000), bytes);
    expect(performance.now() - killedAt).to.be.lessThan(15_000);
    const told = survivor.lines.filter(({ msg }) => /^taking over transfers/.test(msg));
    expect(told.map(({ jobs }) => jobs)).to.deep.equal([1]);
    await until('staging is empty', async () => (await host.stagedFiles()).length === 0);
  });
});
