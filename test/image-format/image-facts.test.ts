import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import { sql } from '../../src/database/sql.ts';
import { claimPlaces } from '../../src/ledger/claim-slots.ts';
import { recordStored } from '../../src/ledger/record-stored.ts';
import { unknownFacts } from '../../src/model/image-facts.ts';
import { samples } from '../fuzz/image-samples.ts';
import { type Json, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg, png } from '../support/images.ts';
import { createEndpoint, expectProblem } from '../uploads/raw.ts';

const nothing = sql`SELECT`;
const raws = samples().filter(({ contentType }) => contentType.startsWith('image/x-'));

describe('what is said of an image', () => {
  const { gateway, api } = useGateway();

  const send = async (bytes: Uint8Array, images = 1) => {
    const ticket = await api.openTicket(images);
    const answer = await createEndpoint(ticket).create({ size: bytes.length, body: Buffer.from(bytes) });
    return { ticket, answer };
  };

  it('is how its file has it and how a viewer shows it, before it is stored and afterwards', async () => {
    const { ticket, answer } = await send(jpeg({ width: 64, height: 48, bytes: 20_000, orientation: 6 }));
    expect(answer.status).to.equal(201);
    const facts = { contentType: 'image/jpeg', format: 'jpg', width: 64, height: 48, orientation: 6 };
    const shown = { displayWidth: 48, displayHeight: 64 };
    const { images } = await until('it is received', async () => {
      const detail = await api.ticket(ticket.id);
      return detail.images[0]?.receivedAt && detail;
    });
    expect(images[0]).to.include({ ...facts, ...shown });
    const [stored] = (await untilCompleted(api, ticket.id)).images;
    expect(stored).to.include({ ...facts, ...shown });
    expect(stored.storage).to.include({ format: 'jpg' });
  });

  it('is no other when the store turned it, or made another format of it', async () => {
    const { id: ticketId } = await api.openTicket(2);
    const found = { contentType: 'image/heic', format: 'heic', width: 40, height: 30, orientation: 6 as const };
    const facts = { ...found, displayWidth: 30, displayHeight: 40, size: 9, sha256: 'a'.repeat(64) };
    const unseen = { ...unknownFacts, size: 9, sha256: 'a'.repeat(64) };
    const rows = [facts, unseen].map((known, nth) => ({
      ...{ ticketId, imageId: randomUUIDv7(), slot: `${nth}`, size: 9, filename: null, uploadMetadata: null },
      ...{ expectedSha256: null, staging: 'elsewhere', holder: null, facts: known },
    }));
    expect(await claimPlaces(gateway.db, rows, () => nothing)).to.have.length(2);
    const asset = { width: 30, height: 40, format: 'jpg' };
    const receipt = {
      ...{
        provider: 'sandbox',
        key: 'k',
        assetId: null,
        version: null,
        url: 'http://x',
        bytes: 9,
        md5: 'b'.repeat(32),
      },
      ...asset,
    };
    await recordStored(
      gateway.db,
      rows.map(({ imageId }) => ({ imageId, receipt })),
      nothing,
    );
    const { images, status } = await api.ticket(ticketId);
    expect(status).to.equal('completed');
    const [seen, blind] = [...images].sort((one: Json, other: Json) => one.slot - other.slot);
    expect(seen).to.include({ ...found, displayWidth: 30, displayHeight: 40 });
    expect(blind).to.include(unknownFacts);
    for (const image of [seen, blind]) expect(image.storage).to.include(asset);
  });

  it('is told in megapixels and MB to a person who sends too much, and exactly to a program', async () => {
    const { answer } = await send(
      Buffer.concat([png({ width: 4 }), Buffer.alloc(100)]).fill(Buffer.of(0, 0, 0x40, 0, 0, 0, 0x40, 0), 16, 24),
    );
    expectProblem(answer, 422, 'image-too-many-pixels');
    expect(answer.body).to.include({
      detail: 'The image has 268 megapixels; at most 250 are taken.',
      ...{ width: 16_384, height: 16_384, maxPixels: 250_000_000 },
    });
    const ticket = await api.openTicket(1);
    const large = await createEndpoint(ticket).create({ size: 52_428_801 });
    expectProblem(large, 413, 'image-too-large');
    expect(large.body).to.include({
      detail: 'The image has 52.428801 MB; at most 52.4288 MB are taken.',
      ...{ size: 52_428_801, maxBytes: 52_428_800 },
    });
  });

  for (const { name, bytes, contentType } of raws) {
    it(`names the kind of a raw file that is refused, and keeps nothing of it: ${name}`, async () => {
      const { ticket, answer } = await send(bytes);
      expectProblem(answer, 415, 'unsupported-image');
      expect(answer.body.detail)
        .to.match(/^This file is .*raw \(/)
        .and.include(contentType);
      expect(answer.body.contentType).to.equal(contentType);
      expect((await api.ticket(ticket.id)).counts).to.include({ uploading: 0, received: 0 });
      expect(await gateway.stagedFiles()).to.deep.equal([]);
    });
  }

  it('is taken of as many pixels as a phone has, 200 million', async () => {
    const photo = jpeg({ width: 16_320, height: 8, bytes: 200_000 });
    photo.writeUInt16BE(12_240, photo.indexOf(Buffer.of(0xff, 0xc0)) + 5);
    const { ticket, answer } = await send(photo);
    expect(answer.status).to.equal(201);
    expect((await api.ticket(ticket.id)).images[0]).to.include({ width: 16_320, height: 12_240 });
  });

  it('is all of a raw file that ACCEPTED_TYPES names, of its full picture', async () => {
    const types = [...new Set(raws.map(({ contentType }) => contentType))];
    await gateway.restart({ ACCEPTED_TYPES: types.join(), TRANSFER_CONCURRENCY: '0' });
    for (const { name, bytes, needed: _, ...expected } of raws) {
      const { ticket, answer } = await send(bytes);
      expect(answer.status, name).to.equal(201);
      const [image] = (await api.ticket(ticket.id)).images;
      expect(image.receivedAt, name).to.be.a('string');
      expect(image, name).to.include(expected);
    }
    const { answer } = await send(png());
    expectProblem(answer, 415, 'unsupported-image');
    expect(answer.body.detail).to.include('PNG');
  });
});
