import { expect } from 'chai';
import { type Gateway, startGateway } from '../../src/gateway.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createLogBook } from '../transfers/rig.ts';
import { createEndpoint, type Endpoint, expectProblem, type RawAnswer } from '../uploads/raw.ts';

const OPEN = 3;
const DAILY = 5;
const BYTES = 1_000_000;

describe('the quotas of a user', () => {
  const photo = jpeg({ bytes: BYTES });
  const small = jpeg({ bytes: 2_000 });
  let gateway: TestGateway;
  /** On the same database, with a staging area of its own. */
  let second: Gateway;
  before(async () => {
    gateway = await startTestGateway({
      MAX_OPEN_TICKETS: `${OPEN}`,
      MAX_IMAGES_PER_DAY: `${DAILY}`,
      MAX_BYTES_IN_FLIGHT: `${BYTES}`,
      MAX_IMAGE_BYTES: `${BYTES}`,
    });
    const elsewhere = { PORT: 0, STAGING_DIR: `${gateway.config.DATA_DIR}/second` };
    second = await startGateway({ ...gateway.config, ...elsewhere }, createLogBook().log);
  });
  after(async () => {
    await second.close();
    await gateway.close();
  });

  const newUser = async () => createApi(gateway.url, (await gateway.createUser()).token);
  const openTicket = (api: Api, images = 1, key = '', url = gateway.url) =>
    createApi(url, api.token).call('POST', '/v1/tickets', {
      body: { images },
      headers: { 'Idempotency-Key': key },
    });
  const statuses = (answers: { status: number }[]) => answers.map(({ status }) => status).sort();
  const repeat = <T>(times: number, run: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: times }, (_, index) => run(index)));

  describe('of open tickets', () => {
    it('are kept by requests that race, through two gateways', async () => {
      const api = await newUser();
      const answers = await repeat(12, (index) => openTicket(api, 1, '', index % 2 ? second.url : gateway.url));
      expect(statuses(answers)).to.deep.equal([...Array(OPEN).fill(201), ...Array(12 - OPEN).fill(403)]);
      const refused = answers.find(({ status }) => status === 403);
      expect(refused?.body).to.include({ code: 'quota-exceeded', detail: 'At most 3 tickets may be open at a time.' });
      expect((await openTicket(await newUser())).status, 'another user').to.equal(201);
    });

    it('do not keep a repeat from the ticket it opened, and come back with every ticket that ends', async () => {
      const api = await newUser();
      const [first, other] = await repeat(OPEN, (index) => openTicket(api, 1, `key ${index}`));
      expect((await openTicket(api)).status).to.equal(403);
      expect((await openTicket(api, 1, 'key 0')).body.id).to.equal(first?.body.id);
      await tusUpload(small, tusOptions(first?.body));
      await untilCompleted(api, first?.body.id);
      expect(statuses([await openTicket(api), await openTicket(api)])).to.deep.equal([201, 403]);
      await gateway.db('tickets').where({ id: other?.body.id }).update({ expired: true });
      expect((await openTicket(api)).status).to.equal(201);
    });
  });

  describe('of images in a day', () => {
    const createThrough = (url: string, ticket: Json, more = {}): Promise<RawAnswer> => {
      const uploadUrl = ticket.uploadUrl.replace(gateway.url, url);
      return createEndpoint({ ...ticket, uploadUrl }).create({ size: small.length, ...more });
    };

    it('are kept by requests that race, through two gateways, and take no place', async () => {
      const api = await newUser();
      const ticket = await api.openTicket(20);
      const answers = await repeat(12, (index) => createThrough(index % 2 ? second.url : gateway.url, ticket));
      expect(statuses(answers)).to.deep.equal([...Array(DAILY).fill(201), ...Array(12 - DAILY).fill(403)]);
      const refused = answers.find(({ status }) => status === 403) as RawAnswer;
      expectProblem(refused, 403, 'quota-exceeded');
      expect(Number(refused.headers['retry-after'])).to.be.within(1, 86_400);
      expect((await api.ticket(ticket.id)).counts.uploading).to.equal(DAILY);
    });

    it('matter to nothing that was admitted, and to nobody else', async () => {
      const api = await newUser();
      const ticket = await api.openTicket(DAILY + 1);
      const endpoint = createEndpoint(ticket);
      const creation = { size: small.length, metadata: { slot: 'mine' } };
      const url = await endpoint.begin(creation);
      await repeat(DAILY - 1, () => endpoint.begin({ size: small.length, body: small }));
      for (const body of [{}, { body: small }])
        expectProblem(await endpoint.create({ size: small.length, ...body }), 403, 'quota-exceeded');
      expect((await endpoint.create(creation)).headers.location, 'its slot finds it').to.equal(url);
      expect((await endpoint.patch(url, 0, small.subarray(0, 1_000))).status).to.equal(204);
      expect((await endpoint.head(url)).status).to.equal(200);
      expect((await endpoint.patch(url, 1_000, small.subarray(1_000))).status).to.equal(204);
      await createEndpoint(await (await newUser()).openTicket(1)).begin({ size: 10 });
    });

    it('count no creation that got no place, and begin anew with the day', async () => {
      const api = await newUser();
      const endpoint = createEndpoint(await api.openTicket(1));
      await endpoint.begin({ size: 10 });
      for (let more = 0; more < DAILY; more += 1)
        expectProblem(await endpoint.create({ size: 10 }), 422, 'ticket-full');
      const ticket = await api.openTicket(DAILY + 2);
      await repeat(DAILY - 1, () => createEndpoint(ticket).begin({ size: 10 }));
      expect((await createThrough(second.url, ticket)).status).to.equal(403);
      await gateway.db('daily_images').update({ day: gateway.db.raw('day - 1') });
      expect((await createThrough(second.url, ticket)).status).to.equal(201);
    });

    for (const [what, end] of Object.entries({
      'by its client': (_ticket: Json, endpoint: Endpoint, url: string) => endpoint.remove(url),
      'by its bytes': (_ticket: Json, endpoint: Endpoint, url: string) =>
        endpoint.patch(url, 0, Buffer.alloc(small.length)),
      'with its ticket’s time': async ({ id }: Json) => {
        await gateway.db('tickets').where({ id }).update({ expires_at: gateway.db.fn.now() });
        await until(
          'it has expired',
          async () => (await gateway.db('images').where({ ticket_id: id }).first()).status === 'expired',
        );
      },
    })) {
      it(`count no image that ended ${what} before it was received`, async () => {
        const api = await newUser();
        const keep = await api.openTicket(DAILY + 1);
        await repeat(DAILY - 1, () => createEndpoint(keep).begin({ size: small.length, body: small }));
        const ticket = await api.openTicket(1);
        const endpoint = createEndpoint(ticket);
        const url = await endpoint.begin({ size: small.length });
        expectProblem(await createEndpoint(keep).create({ size: 10 }), 403, 'quota-exceeded');
        await end(ticket, endpoint, url);
        await createEndpoint(keep).begin({ size: small.length });
        expectProblem(await createThrough(second.url, keep), 403, 'quota-exceeded');
      });
    }

    it('are told to tus-js-client at once: it does not come back for hours', async () => {
      const api = await newUser();
      const ticket = await api.openTicket(DAILY + 1);
      await repeat(DAILY, () => createEndpoint(ticket).begin({ size: 10 }));
      let requests = 0;
      const onBeforeRequest = () => {
        requests += 1;
      };
      const refused = await tusUpload(small, { ...tusOptions(ticket), onBeforeRequest }).catch((error) => error);
      expect(refused.originalResponse.getStatus()).to.equal(403);
      expect(requests).to.equal(1);
    });
  });

  describe('of bytes in flight', () => {
    before(() => gateway.restart({ TRANSFER_CONCURRENCY: '0' }));

    it('are kept by requests that race, for each user, and over a restart', async () => {
      const api = await newUser();
      const ticket = await api.openTicket(5);
      const endpoint = createEndpoint(ticket);
      const answers = await repeat(4, () => endpoint.create({ size: BYTES / 2 - 1 }));
      expect(statuses(answers)).to.deep.equal([201, 201, 507, 507]);
      const refused = answers.find(({ status }) => status === 507) as RawAnswer;
      expectProblem(refused, 507, 'user-staging-full');
      expect(Number(refused.headers['retry-after'])).to.be.greaterThan(0);
      await gateway.restart({ TRANSFER_CONCURRENCY: '0' });
      expectProblem(await endpoint.create({ size: 3 }), 507, 'user-staging-full');
      expectProblem(await endpoint.create({ size: null }), 507, 'user-staging-full');
      await createEndpoint(await (await newUser()).openTicket(1)).begin({ size: BYTES });
      const admitted = answers.find(({ status }) => status === 201) as RawAnswer;
      await endpoint.remove(String(admitted.headers.location));
      await endpoint.begin({ size: BYTES / 2 });
    });

    it('are those that wait in one staging area, whichever process took them', async () => {
      const beside = await startGateway({ ...gateway.config, PORT: 0, TRANSFER_CONCURRENCY: 0 }, createLogBook().log);
      try {
        const api = await newUser();
        const endpoint = createEndpoint(await createApi(beside.url, api.token).openTicket(2));
        const url = await endpoint.begin({ size: BYTES });
        const create = createEndpoint(await api.openTicket(100)).create;
        await until('the other process has heard of it', async () => (await create({ size: 1 })).status === 507);
        await endpoint.remove(url);
        await until('and of its end', async () => (await create({ size: BYTES - 100 })).status === 201);
      } finally {
        await beside.close();
      }
    });

    it('are waited for by tus-js-client, until its first photo is stored', async () => {
      const ticket = await (await newUser()).openTicket(2);
      await tusUpload(photo, tusOptions(ticket));
      const answers: number[] = [];
      const next = tusUpload(photo, {
        ...tusOptions(ticket),
        retryDelays: Array(100).fill(100),
        onAfterResponse: (_request, response) => void answers.push(response.getStatus()),
      });
      await until('it was refused', () => answers.includes(507));
      await gateway.restart({ TRANSFER_CONCURRENCY: '2' });
      await next;
      expect(answers.filter((status) => status >= 400 && status !== 507)).to.deep.equal([]);
    });
  });
});
