import { expect } from 'chai';
import { issueToken } from '../../../src/identity/tokens.ts';
import { createApi, until, untilCompleted } from '../../support/client.ts';
import { useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createEndpoint, expectProblem } from '../raw.ts';

const MIB = 1024 * 1024;

describe('the room in staging', () => {
  const { gateway, api } = useGateway({
    STAGING_BUDGET_BYTES: `${MIB}`,
    MAX_IMAGE_BYTES: `${MIB}`,
    TRANSFER_CONCURRENCY: '0',
  });

  it('is refused when there is none, and comes back with each transfer', async () => {
    const ticket = await api.openTicket(3);
    const endpoint = createEndpoint(ticket);
    const half = jpeg({ bytes: MIB / 2 });
    const unfinished = await endpoint.begin({ size: half.length });
    await endpoint.begin({ size: half.length, body: half });
    for (const size of [1, MIB, null]) {
      const answer = await endpoint.create({ size });
      expectProblem(answer, 507, 'staging-full');
      expect(Number(answer.headers['retry-after'])).to.be.greaterThan(0);
    }
    expect((await api.ticket(ticket.id)).counts.uploading, 'no place was taken').to.equal(1);
    expect((await endpoint.patch(unfinished, 0, half)).status, 'an admitted upload goes on').to.equal(204);
    await gateway.restart({ TRANSFER_CONCURRENCY: '2' });
    const last = await until('there is room again', async () => {
      const answer = await endpoint.create({ size: MIB });
      return answer.status === 201 ? answer : null;
    });
    await endpoint.patch(String(last.headers.location), 0, jpeg({ bytes: MIB }));
    await untilCompleted(api, ticket.id);
  });

  it('comes back with uploads that end otherwise', async () => {
    const endpoint = createEndpoint(await api.openTicket(1));
    const whole = async () => endpoint.begin({ size: MIB });
    await endpoint.remove(await until('the last transfer has ended', () => whole().catch(() => null)));
    const cancelled = await endpoint.begin({ size: null });
    await endpoint.patch(cancelled, 0, jpeg({ bytes: 1_000 }));
    expectProblem(await createEndpoint(await api.openTicket(1)).create({ size: 1 }), 507, 'staging-full');
    await endpoint.remove(cancelled);
    expectProblem(await endpoint.create({ size: MIB, body: Buffer.alloc(MIB) }), 415, 'unsupported-image');
    expectProblem(await endpoint.create({ size: 10, body: Buffer.alloc(11) }), 413, 'length-exceeded');
    expectProblem(await endpoint.create({ size: 10, metadata: { slot: '\0' } }), 422, 'invalid-request');
    await endpoint.remove(await whole());
    // What a length that comes late leaves over is given back at once.
    const small = await endpoint.begin({ size: null });
    await endpoint.patch(small, 0, jpeg({ bytes: 1_000 }), { headers: { 'Upload-Length': '2000' } });
    const other = createEndpoint(await api.openTicket(1));
    const rest = await other.begin({ size: MIB - 2_000 });
    await other.remove(rest);
    await endpoint.remove(small);
    const expiring = await api.openTicket(1);
    await createEndpoint(expiring).begin({ size: MIB });
    await gateway.db('tickets').where({ id: expiring.id }).update({ expires_at: gateway.db.fn.now() });
    await endpoint.remove(await until('the expired upload has left', () => whole().catch(() => null)));
  });

  it('is no matter to who has a place already, or gets none', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const photo = jpeg({ bytes: MIB });
    const creation = { size: photo.length, metadata: { slot: 'only' } };
    const url = await endpoint.begin(creation);
    expect((await endpoint.create(creation)).headers.location, 'its own bytes fill the staging').to.equal(url);
    expectProblem(await endpoint.create({ size: 10 }), 422, 'ticket-full');
    await endpoint.patch(url, 0, photo);
    await untilCompleted(api, ticket.id);
  });

  it('is counted right by the next process', async () => {
    const endpoint = createEndpoint(await api.openTicket(2));
    const create = () => endpoint.begin({ size: MIB - 10 }).catch(() => null);
    const url = await until('the last transfer has ended', create);
    await endpoint.patch(url, 0, jpeg({ bytes: 1_000 }));
    await gateway.restart();
    expectProblem(await endpoint.create({ size: 11 }), 507, 'staging-full');
    await endpoint.remove(await endpoint.begin({ size: 10 }));
    await endpoint.remove(url);
    await endpoint.remove(await endpoint.begin({ size: MIB }));
  });
});

describe('the rate of creations', () => {
  const { gateway } = useGateway({ MAX_CREATIONS_PER_MINUTE: '4' });

  it('is bounded for each user, and for nothing but creations', async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const photo = jpeg({ bytes: 10_000 });
    const ticket = await api.openTicket(10);
    const endpoint = createEndpoint({ ...ticket, uploadToken: api.token });
    const urls = [];
    for (let count = 0; count < 3; count += 1) urls.push(await endpoint.begin({ size: photo.length }));
    const refused = await endpoint.create({ size: photo.length });
    expectProblem(refused, 429, 'too-many-requests');
    expect(Number(refused.headers['retry-after'])).to.be.within(1, 60);
    expect((await api.call('POST', '/v1/tickets', { body: { images: 1 } })).status).to.equal(429);
    for (const url of urls) {
      for (let offset = 0; offset < photo.length; offset += 1_000) {
        expect((await endpoint.patch(url, offset, photo.subarray(offset, offset + 1_000))).status).to.equal(204);
        expect((await endpoint.head(url)).status).to.equal(200);
      }
    }
    const other = createApi(gateway.url, (await gateway.createUser()).token);
    await createEndpoint(await other.openTicket(1)).begin({ size: photo.length });
    expect((await api.ticket(ticket.id)).counts.uploading, 'no place was taken').to.equal(0);
  });

  it('is bounded for each upload token, and none of it is that of its owner or of another guest', async () => {
    const user = await gateway.createUser();
    const api = createApi(gateway.url, user.token);
    const ticket = await api.openTicket(1);
    const guest = createEndpoint(ticket);
    for (let count = 0; count < 4; count += 1) await guest.remove(await guest.begin({ size: 10 }));
    expectProblem(await guest.create({ size: 10 }), 429, 'too-many-requests');
    const { token } = await issueToken(gateway.db, { userId: user.id, ticketId: ticket.id });
    const other = createEndpoint({ ...ticket, uploadToken: token });
    await other.remove(await other.begin({ size: 10 }));
    const own = createEndpoint({ ...ticket, uploadToken: api.token });
    for (let count = 0; count < 2; count += 1) await own.remove(await own.begin({ size: 10 }));
    await api.openTicket(1);
  });

  it('counts nothing that was refused, as long as refusals are no more than creations may be', async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const ticket = await api.openTicket(4);
    const guest = createEndpoint(ticket);
    const malformed = { size: 10, headers: { 'Upload-Length': 'ten' } };
    for (let count = 0; count < 10; count += 1) {
      expectProblem(await guest.create(malformed), 400, 'malformed-request');
      expectProblem(await guest.create({ size: 1e9 }), 413, 'image-too-large');
    }
    for (let count = 0; count < 3; count += 1) await guest.begin({ size: 10 });
    const full = createEndpoint({ ...(await api.openTicket(1)), uploadToken: api.token });
    await full.begin({ size: 10 });
    for (let count = 0; count < 4; count += 1) expectProblem(await full.create({ size: 10 }), 422, 'ticket-full');
    await guest.begin({ size: 10 });
    // Two tickets and an image of its own: one is left for a fifth refusal.
    expectProblem(await full.create({ size: 10 }), 422, 'ticket-full');
    expectProblem(await full.create({ size: 10 }), 429, 'too-many-requests');
  });
});
