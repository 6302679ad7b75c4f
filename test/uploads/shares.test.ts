import { expect } from 'chai';
import { type Gateway, startGateway } from '../../src/gateway.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createLogBook } from '../transfers/rig.ts';
import { listen } from './events.ts';
import { createEndpoint, type Endpoint, expectProblem, type RawAnswer } from './raw.ts';

const MIB = 1024 * 1024;
/** The largest image; also, in the small staging of this test, what a ticket may have. Two of it are a user's, eight all. */
const LARGEST = 4 * MIB;

describe('the room of staging that one client takes', () => {
  let gateway: TestGateway;
  let api: Api;
  let other: Api;
  const newApi = async () => createApi(gateway.url, (await gateway.createUser()).token);
  /** Creations one after the other, until one is refused. */
  const fill = async (endpoint: Endpoint, size: number | null, most = 220) => {
    const urls: string[] = [];
    for (let count = 0; count < most; count += 1) {
      const answer = await endpoint.create({ size });
      if (answer.status !== 201) return { urls, refused: answer };
      urls.push(String(answer.headers.location));
    }
    throw new Error(`none of ${most} creations was refused`);
  };
  const expectRefused = (answer: RawAnswer, code = 'user-staging-full') => {
    expectProblem(answer, 507, code);
    expect(Number(answer.headers['retry-after'])).to.be.greaterThan(0);
  };
  const removeAll = async (endpoint: Endpoint, urls: string[]) => {
    for (const url of urls) expect((await endpoint.remove(url)).status).to.equal(204);
  };

  before(async () => {
    gateway = await startTestGateway({
      STAGING_BUDGET_BYTES: `${8 * LARGEST}`,
      MAX_IMAGE_BYTES: `${LARGEST}`,
      MAX_TICKET_BYTES_IN_FLIGHT: `${LARGEST}`,
      UPLOAD_IDLE_SECONDS: '1',
    });
  });
  beforeEach(async () => {
    api = await newApi();
    other = await newApi();
  });
  after(() => gateway.close());

  for (const [what, size] of [
    ['large images', LARGEST],
    ['small images', 100_000],
    ['images of unknown length', null],
  ] as const) {
    it(`is a share: 220 creations of ${what} without a byte keep nobody else from it`, async () => {
      const endpoint = createEndpoint(await api.openTicket(1000));
      const { urls, refused } = await fill(endpoint, size);
      expectRefused(refused);
      const photo = jpeg({ bytes: 1_000_000 });
      for (const neighbour of [api, other]) {
        const ticket = await neighbour.openTicket(1);
        const started = performance.now();
        await tusUpload(photo, { ...tusOptions(ticket), retryDelays: null });
        await untilCompleted(neighbour, ticket.id);
        expect(performance.now() - started, 'nobody waited for the idle ones').to.be.lessThan(2_500);
      }
      await removeAll(endpoint, urls);
    });
  }

  it('is a share of the user for all of its tickets together', async () => {
    const [first, second, third] = await Promise.all(
      [1, 2, 3].map(async () => createEndpoint(await api.openTicket(9))),
    );
    if (!first || !second || !third) throw new Error('no tickets');
    const held = [await first.begin({ size: LARGEST }), await second.begin({ size: LARGEST })];
    expectRefused(await third.create({ size: 1 }));
    await createEndpoint(await other.openTicket(1)).begin({ size: 1 });
    await removeAll(first, held.slice(0, 1));
    await removeAll(second, held.slice(1));
  });

  it('is given back when no byte comes; the upload lives, and asks again with its first byte', async () => {
    const photo = jpeg({ bytes: LARGEST });
    const endpoint = createEndpoint(await api.openTicket(2));
    const idle = await endpoint.begin({ size: LARGEST });
    expectRefused(await endpoint.create({ size: LARGEST }));
    const next = await until('the idle one has no room', async () => {
      const { status, headers } = await endpoint.create({ size: LARGEST });
      return status === 201 ? String(headers.location) : null;
    });
    expectRefused(await endpoint.patch(idle, 0, photo));
    expect((await endpoint.head(idle)).headers['upload-offset'], 'it stands where it stood').to.equal('0');
    await endpoint.remove(next);
    expect((await endpoint.patch(idle, 0, photo)).status).to.equal(204);
  });

  it('is what is on the disk, for an upload that stalls', async () => {
    const photo = jpeg({ bytes: LARGEST });
    const endpoint = createEndpoint(await api.openTicket(3));
    const stalled = await endpoint.begin({ size: LARGEST });
    expect((await endpoint.patch(stalled, 0, photo.subarray(0, MIB))).status).to.equal(204);
    const next = await until('the stalled one has room for what is here', async () => {
      const { status, headers } = await endpoint.create({ size: LARGEST - MIB });
      return status === 201 ? String(headers.location) : null;
    });
    expectRefused(await endpoint.create({ size: 1 }));
    expectRefused(await endpoint.patch(stalled, MIB, photo.subarray(MIB)));
    expect((await endpoint.head(stalled)).headers['upload-offset']).to.equal(`${MIB}`);
    await endpoint.remove(next);
    expect((await endpoint.patch(stalled, MIB, photo.subarray(MIB))).status).to.equal(204);
  });

  it('grows with an image of unknown length, and what has no room is not taken', async () => {
    const photo = jpeg({ bytes: LARGEST - 1_000 });
    const endpoint = createEndpoint(await api.openTicket(2));
    const growing = await endpoint.begin({ size: null });
    const beside = await endpoint.begin({ size: 2 * MIB });
    expectRefused(await endpoint.patch(growing, 0, photo, { headers: { 'Upload-Length': `${photo.length}` } }));
    const offset = Number((await endpoint.head(growing)).headers['upload-offset']);
    expect(offset).to.be.within(0, 2 * MIB);
    await endpoint.remove(beside);
    expect((await endpoint.patch(growing, offset, photo.subarray(offset))).status).to.equal(204);
  });

  it('is waited for by tus-js-client, which goes on with the same upload', async () => {
    const photo = jpeg({ bytes: LARGEST });
    const ticket = await api.openTicket(2);
    const endpoint = createEndpoint(ticket);
    const uploadUrl = await endpoint.begin({ size: LARGEST });
    const next = await until('the idle one has no room', async () => {
      const { status, headers } = await endpoint.create({ size: LARGEST });
      return status === 201 ? String(headers.location) : null;
    });
    const answers: string[] = [];
    const uploading = tusUpload(photo, {
      ...tusOptions(ticket),
      uploadUrl,
      retryDelays: Array(100).fill(50),
      onAfterResponse: (request, response) => void answers.push(`${request.getMethod()} ${response.getStatus()}`),
    });
    await until('it was refused', () => answers.includes('PATCH 507'));
    await endpoint.remove(next);
    await uploading;
    expect(answers.filter((answer) => answer.startsWith('POST'))).to.deep.equal([]);
    const { images } = await api.ticket(ticket.id);
    expect(images.map(({ status }: Json) => status)).to.include.oneOf(['received', 'transferring', 'stored']);
  });

  describe('through several processes, and over a restart', () => {
    let beside: Gateway;
    before(async () => {
      beside = await startGateway({ ...gateway.config, PORT: 0, TRANSFER_CONCURRENCY: 0 }, createLogBook().log);
    });
    after(() => beside.close());
    const there = (url: string) => url.replace(gateway.url, beside.url);

    it('is one share, given back in all of them, and asked for again in all of them', async () => {
      const photo = jpeg({ bytes: LARGEST });
      const ticket = await api.openTicket(3);
      const endpoint = createEndpoint(ticket);
      const elsewhere = createEndpoint({ ...ticket, uploadUrl: there(ticket.uploadUrl) });
      const idle = await endpoint.begin({ size: LARGEST });
      const stream = await listen(ticket);
      const refused = async () => {
        const answer = await elsewhere.create({ size: LARGEST });
        if (answer.status !== 201) return answer;
        await elsewhere.remove(String(answer.headers.location));
        return null;
      };
      expectRefused(await until('the other has heard of it', refused));
      const next = await until('it has no room there', async () => {
        const { status, headers } = await elsewhere.create({ size: LARGEST });
        return status === 201 ? String(headers.location) : null;
      });
      const nextId = next.split('/').at(-1);
      await until('the first has heard of that', () =>
        stream.events.some(({ event, data }) => event === 'image' && data.id === nextId),
      );
      await stream.close();
      expectRefused(await endpoint.patch(idle, 0, photo));
      await elsewhere.remove(next);
      await until('there is room again', async () => (await endpoint.patch(idle, 0, photo)).status === 204);
    });

    it('is counted by the next process, and given back there', async () => {
      const endpoint = createEndpoint(await api.openTicket(2));
      await endpoint.begin({ size: LARGEST });
      await gateway.restart();
      expectRefused(await endpoint.create({ size: 1 }));
      await until('it has no room', async () => (await endpoint.create({ size: LARGEST })).status === 201);
    });
  });
});
