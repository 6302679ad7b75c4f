import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import { sql } from '../../../src/database/sql.ts';
import { claimPlaces, findPlaceTaken, type PlaceRequest } from '../../../src/ledger/claim-slots.ts';
import { until, untilCompleted } from '../../support/client.ts';
import { sha256Of } from '../../support/digest.ts';
import { useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createEndpoint, expectProblem } from '../raw.ts';

describe('a slot of a ticket', () => {
  const photo = jpeg({ bytes: 30_000 });
  const slot = { slot: 'front page' };
  const { gateway, api } = useGateway();

  const placeRequest = (ticketId: string): PlaceRequest => ({
    ...{ ticketId, imageId: randomUUIDv7(), slot: 'last', size: 100, filename: null, uploadMetadata: null },
    ...{ expectedSha256: null, staging: 'elsewhere', holder: null, facts: null },
  });
  const open = async (images: number) => {
    const ticket = await api.openTicket(images);
    return { ticket, endpoint: createEndpoint(ticket) };
  };

  it('is taken once, whenever the client repeats its creation', async () => {
    const { ticket, endpoint } = await open(2);
    const repeat = async () => {
      const answer = await endpoint.create({ size: photo.length, metadata: slot });
      expect(answer.status).to.equal(201);
      expect(answer.headers.location).to.equal(url);
      expect((await api.ticket(ticket.id)).images).to.have.lengthOf(1);
      return answer.headers['upload-offset'];
    };
    const url = await endpoint.begin({ size: photo.length, metadata: slot });
    expect(await repeat(), 'before the first byte').to.equal('0');
    await endpoint.patch(url, 0, photo.subarray(0, 12_345));
    expect(await repeat(), 'in the middle').to.equal('12345');
    await endpoint.patch(url, 12_345, photo.subarray(12_345));
    expect(await repeat(), 'once it is received').to.equal(`${photo.length}`);
    await endpoint.begin({ size: photo.length, body: photo });
    await untilCompleted(api, ticket.id);
    const stored = await endpoint.create({ size: photo.length, metadata: slot });
    expect([stored.status, stored.headers.location], 'once the ticket is complete').to.deep.equal([201, url]);
  });

  it('is taken once when the repeat brings the whole body', async () => {
    const { ticket, endpoint } = await open(1);
    const url = await endpoint.begin({ size: photo.length, metadata: slot });
    const answer = await endpoint.create({ size: photo.length, metadata: slot, body: photo });
    expect([answer.status, answer.headers.location]).to.deep.equal([201, url]);
    const offset = Number(answer.headers['upload-offset']);
    expect((await endpoint.patch(url, offset, photo.subarray(offset))).status).to.equal(204);
    await untilCompleted(api, ticket.id);
  });

  it('is taken once by requests that race', async () => {
    const { ticket, endpoint } = await open(5);
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => endpoint.create({ size: photo.length, metadata: slot })),
    );
    expect(answers.map(({ status }) => status)).to.deep.equal(Array(12).fill(201));
    expect(new Set(answers.map(({ headers }) => headers.location)).size).to.equal(1);
    expect((await api.ticket(ticket.id)).counts.uploading).to.equal(1);
  });

  it('goes to one of two that race for the last place, and to both when it is the same', async () => {
    const { endpoint } = await open(1);
    const answers = await Promise.all(
      ['a', 'b', 'a', 'b', 'a', 'b'].map((name) => endpoint.create({ size: 10, metadata: { slot: name } })),
    );
    const taken = answers.filter(({ status }) => status === 201);
    expect(taken).to.have.lengthOf(3);
    expect(new Set(taken.map(({ headers }) => headers.location)).size).to.equal(1);
    for (const answer of answers.filter(({ status }) => status !== 201)) expectProblem(answer, 422, 'ticket-full');
  });

  it('is found by who looked for it while another took it, and with it the last place', async () => {
    const { ticket } = await open(1);
    const [won, lost] = [placeRequest(ticket.id), placeRequest(ticket.id)];
    const winner = await gateway.db.transaction();
    await winner.raw('LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE');
    const loser = findPlaceTaken(gateway.db, lost);
    loser.catch(() => {});
    await until('the loser looks at the ticket', async () => {
      const { rows } = await gateway.db.raw(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
         AND query LIKE 'select "tickets"%'`,
      );
      return rows.length > 0;
    });
    await claimPlaces(winner, [won], () => sql`SELECT`);
    await winner.commit();
    expect((await loser)?.id).to.equal(won.imageId);
  });

  it('is not for an image of another size', async () => {
    const { endpoint } = await open(2);
    await endpoint.begin({ size: photo.length, metadata: slot });
    expectProblem(await endpoint.create({ size: photo.length + 1, metadata: slot }), 422, 'slot-mismatch');
    expectProblem(await endpoint.create({ size: null, metadata: slot }), 422, 'slot-mismatch');
    await endpoint.begin({ size: photo.length + 1, metadata: { slot: 'another' } });
  });

  it('is not for another image of the same size, once somebody can tell', async () => {
    const { ticket, endpoint } = await open(3);
    const other = Buffer.concat([photo.subarray(0, -1), Buffer.from([(photo.at(-1) ?? 0) ^ 1])]);
    const create = (body: Buffer, metadata: Record<string, string>) =>
      endpoint.create({ size: body.length, metadata, body });
    const first = await create(photo, slot);
    expect(first.headers['upload-offset']).to.equal(`${photo.length}`);
    expectProblem(await create(other, slot), 422, 'slot-mismatch');
    const announced = { ...slot, sha256: sha256Of(other) };
    expectProblem(await endpoint.create({ size: other.length, metadata: announced }), 422, 'slot-mismatch');
    const begun = { slot: 'begun', sha256: sha256Of(photo) };
    await endpoint.begin({ size: photo.length, metadata: begun });
    expectProblem(
      await endpoint.create({ size: 30_000, metadata: { ...announced, slot: 'begun' } }),
      422,
      'slot-mismatch',
    );
    const repeats = [await create(photo, slot), await create(photo, { ...slot, sha256: sha256Of(photo) })];
    expect(repeats.map(({ headers }) => headers.location)).to.deep.equal(Array(2).fill(first.headers.location));
    expect((await api.ticket(ticket.id)).images).to.have.lengthOf(2);
  });

  it('is free again once its upload has ended', async () => {
    const { endpoint } = await open(1);
    const cancelled = await endpoint.begin({ size: photo.length, metadata: slot });
    await endpoint.remove(cancelled);
    const rejected = await endpoint.create({ size: photo.length, metadata: slot, body: Buffer.alloc(photo.length) });
    expectProblem(rejected, 415, 'unsupported-image');
    const next = await endpoint.begin({ size: 77, metadata: slot });
    expect(next).not.to.equal(cancelled);
  });

  it('belongs to one ticket alone', async () => {
    const [one, two] = [await open(1), await open(1)];
    const url = await one.endpoint.begin({ size: 10, metadata: slot });
    expect(await two.endpoint.begin({ size: 20, metadata: slot })).not.to.equal(url);
  });

  it('of an upload without a length is found without one', async () => {
    const { endpoint } = await open(2);
    const url = await endpoint.begin({ size: null, metadata: slot });
    expect(await endpoint.begin({ size: null, metadata: slot })).to.equal(url);
    await endpoint.patch(url, 0, photo.subarray(0, 99));
    const answer = await endpoint.create({ size: null, metadata: slot });
    expect(answer.headers['upload-offset']).to.equal('99');
  });
});
