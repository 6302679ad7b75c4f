import { join } from 'node:path';
import { expect } from 'chai';
import pino from 'pino';
import { startGateway } from '../../src/gateway.ts';
import { type Api, createApi, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { watchLeaks } from './leaks.ts';
import { createEndpoint, expectProblem, type RawAnswer } from './raw.ts';

describe('more uploads than a ticket takes', () => {
  let gateway: TestGateway;
  let api: Api;
  let leaks: ReturnType<typeof watchLeaks>;
  before(async () => {
    leaks = watchLeaks();
    gateway = await startTestGateway();
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  after(() => gateway.close());

  const open = async (images: number) => {
    const ticket = await api.openTicket(images);
    return { ticket, endpoint: createEndpoint(ticket) };
  };
  const photoOf = (seed: number) => jpeg({ bytes: 20_000 + seed, seed });
  const times = <T>(count: number, make: (index: number) => Promise<T>) =>
    Promise.all(Array.from({ length: count }, (_, index) => make(index)));
  const taken = (answers: RawAnswer[]) => answers.filter(({ status }) => status === 201);
  const expectTheRestFull = (answers: RawAnswer[]) => {
    for (const answer of answers) if (answer.status !== 201) expectProblem(answer, 422, 'ticket-full');
  };

  it('get seven places of seven, fifty at once', async () => {
    const { ticket, endpoint } = await open(7);
    const answers = await times(50, (seed) => endpoint.create({ size: photoOf(seed).length }));
    expect(taken(answers)).to.have.lengthOf(7);
    expectTheRestFull(answers);
    expect(new Set(taken(answers).map(({ headers }) => headers.location)).size).to.equal(7);
    expect((await api.ticket(ticket.id)).counts).to.include({ expected: 7, uploading: 7 });
    await Promise.all(
      answers.map(async ({ status, headers }, seed) => {
        if (status === 201) await endpoint.patch(String(headers.location), 0, photoOf(seed));
      }),
    );
    const { counts } = await untilCompleted(api, ticket.id);
    expect(counts).to.deep.equal({ expected: 7, uploading: 0, received: 0, stored: 7, failed: 0 });
  });

  it('get seven places of seven, fifty at once with their bytes', async () => {
    const { ticket, endpoint } = await open(7);
    const answers = await times(50, (seed) => endpoint.create({ size: photoOf(seed).length, body: photoOf(seed) }));
    expect(taken(answers)).to.have.lengthOf(7);
    expectTheRestFull(answers);
    const { images } = await untilCompleted(api, ticket.id);
    expect(images).to.have.lengthOf(7);
  });

  it('get every place that comes free, and none twice', async () => {
    const { ticket, endpoint } = await open(3);
    let most = 0;
    // Each cancels what it got, until the last lap fills the ticket.
    await times(12, async () => {
      for (let lap = 0; lap < 8; lap += 1) {
        const answer = await endpoint.create({ size: 1_000 });
        if (answer.status !== 201) expectProblem(answer, 422, 'ticket-full');
        else {
          most = Math.max(most, (await api.ticket(ticket.id)).counts.uploading);
          expect((await endpoint.remove(String(answer.headers.location))).status).to.equal(204);
        }
      }
    });
    expect(most).to.be.within(1, 3);
    expect((await api.ticket(ticket.id)).counts.uploading).to.equal(0);
    const answers = await times(10, (seed) => endpoint.create({ size: photoOf(seed).length, body: photoOf(seed) }));
    expect(taken(answers)).to.have.lengthOf(3);
    await untilCompleted(api, ticket.id);
  });

  it('get every place that rejected images leave, when all come at once', async () => {
    const { ticket, endpoint } = await open(2);
    const bad = Buffer.alloc(5_000, 'not an image ');
    const answers = await times(30, () => endpoint.create({ size: bad.length, body: bad }));
    for (const answer of answers) {
      if (answer.status === 415) expectProblem(answer, 415, 'unsupported-image');
      else expectProblem(answer, 422, 'ticket-full');
    }
    const { counts } = await api.ticket(ticket.id);
    expect(counts).to.deep.equal({ expected: 2, uploading: 0, received: 0, stored: 0, failed: 0 });
    await times(2, (seed) => endpoint.begin({ size: photoOf(seed).length, body: photoOf(seed) }));
    await untilCompleted(api, ticket.id);
  });

  it('fill thirty tickets at once, each with its own', async () => {
    const tickets = await times(30, () => open(2));
    const answers = await Promise.all(
      tickets.flatMap(({ endpoint }, index) =>
        [0, 1, 2].map((more) => {
          const body = photoOf(index * 3 + more);
          return endpoint.create({ size: body.length, body });
        }),
      ),
    );
    expect(taken(answers)).to.have.lengthOf(60);
    expectTheRestFull(answers);
    for (const { ticket } of tickets) await untilCompleted(api, ticket.id);
  });

  it('finish at the moment their ticket expires, or do not, and the counts are right', async () => {
    const { ticket, endpoint } = await open(8);
    const urls = await times(8, (seed) => endpoint.begin({ size: photoOf(seed).length }));
    const expiring = gateway.db('tickets').where({ id: ticket.id }).update({ expires_at: gateway.db.fn.now() });
    await expiring;
    let received = 0;
    for (const [seed, url] of urls.entries()) {
      const { status } = await endpoint.patch(url, 0, photoOf(seed));
      expect(status).to.be.oneOf([204, 410]);
      if (status === 204) received += 1;
      // One after the other, so that some come before the ticket is closed and some after.
      if (seed === 3)
        await until('the ticket is closed', async () => (await api.ticket(ticket.id)).status === 'expired');
    }
    expect(received).to.be.within(0, 4);
    await until('what was received is stored', async () => (await api.ticket(ticket.id)).counts.stored === received);
    const { counts } = await api.ticket(ticket.id);
    expect(counts).to.deep.equal({ expected: 8, uploading: 0, received: 0, stored: received, failed: 0 });
  });

  it('get seven places of seven through two gateways, each with a staging of its own', async () => {
    const other = await startGateway(
      { ...gateway.config, PORT: 0, STAGING_DIR: join(gateway.config.DATA_DIR, 'other') },
      pino({ level: 'silent' }),
    );
    const { ticket, endpoint } = await open(7);
    const through = createEndpoint({ ...ticket, uploadUrl: ticket.uploadUrl.replace(gateway.url, other.url) });
    const answers = await times(40, (seed) => {
      const body = photoOf(seed);
      return (seed % 2 === 0 ? endpoint : through).create({ size: body.length, body });
    });
    expect(taken(answers)).to.have.lengthOf(7);
    expectTheRestFull(answers);
    await untilCompleted(api, ticket.id);
    await other.close();
  });

  it('leave nothing behind', () => leaks.check(gateway));
});
