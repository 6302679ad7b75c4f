import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import pg from 'pg';
import { sql } from '../../src/database/sql.ts';
import { claimPlaces, type PlaceRequest } from '../../src/ledger/claim-slots.ts';
import { receiveImages } from '../../src/ledger/receive-images.ts';
import { recordStored } from '../../src/ledger/record-stored.ts';
import { unknownFacts } from '../../src/model/image-facts.ts';
import { readRows } from '../support/announcement.ts';
import { type Api, createApi, type Json, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

const IMAGES = 32;

const nothing = sql`SELECT`;

describe('the changes of a ticket that one statement makes', () => {
  let gateway: TestGateway;
  let api: Api;
  let listener: pg.Client;
  let payloads: string[];
  before(async () => {
    gateway = await startTestGateway({ TRANSFER_CONCURRENCY: '0' });
    api = createApi(gateway.url, (await gateway.createUser()).token);
    listener = new pg.Client({ connectionString: gateway.config.DATABASE_URL });
    listener.on('notification', ({ payload = '' }) => payloads.push(payload));
    await listener.connect();
    await listener.query('LISTEN hopla_changes');
  });
  after(async () => {
    await listener.end();
    await gateway.close();
  });

  const request = (ticketId: string, imageId: string, nth: number): PlaceRequest => ({
    ...{ ticketId, imageId, slot: `${nth}`, size: 100 + nth, filename: '€'.repeat(200) },
    ...{ uploadMetadata: null, expectedSha256: null, staging: 'elsewhere', holder: 'somebody', facts: null },
  });
  const factsOf = (size: number) => ({
    ...{ ...unknownFacts, size, sha256: 'a'.repeat(64) },
    ...{ contentType: 'image/png', format: 'png', width: 1, height: 1 },
  });
  const receiptOf = (size: number) => ({
    ...{ provider: 'sandbox', key: `k${size}`, assetId: null, version: null, url: 'http://x', bytes: size },
    ...{ md5: 'b'.repeat(32), width: 1, height: 1, format: 'png' },
  });
  /** Rows of what was announced, once a statement's are all here. */
  const heard = async (ticketId: string, version: number): Promise<{ ticket: Json; image: Json }[]> =>
    until('all announced', () => {
      const rows = payloads.flatMap(readRows).filter(({ ticket }) => ticket.id === ticketId);
      return rows.at(-1)?.ticket.version === version ? (rows as { ticket: Json; image: Json }[]) : null;
    });
  const ticketRow = async (id: string) =>
    (await gateway.db.raw('SELECT to_jsonb(tickets) AS row FROM tickets WHERE id = ?', [id])).rows[0].row;

  it('are announced one by one, each with the ticket as it stood', async () => {
    payloads = [];
    const { id } = await api.openTicket(IMAGES, { metadata: { text: 'x'.repeat(3500) } });
    const ids = Array.from({ length: IMAGES }, () => randomUUIDv7()).sort();
    const requests = ids.map((imageId, nth) => request(id, imageId, nth));
    expect(await claimPlaces(gateway.db, requests, () => nothing)).to.have.length(IMAGES);
    const sizes = requests.map(({ size }) => size ?? 0);
    const sums = sizes.map((_, nth) => sizes.slice(0, nth + 1).reduce((sum, size) => sum + size, 0));
    const total = sums.at(-1);
    const seen = ({ ticket, image }: { ticket: Json; image: Json }) => [
      ...[image.id, image.status, ticket.version, ticket.status, ticket.claimed, ticket.received, ticket.stored],
      ...[ticket.bytes_total, ticket.bytes_received, ticket.bytes_stored, ticket.completed_at !== null],
    ];
    const claims = await heard(id, 1 + IMAGES);
    expect(claims.map(seen)).to.deep.equal(
      requests.map(({ imageId }, n) => [imageId, 'uploading', n + 2, 'uploading', n + 1, 0, 0, sums[n], 0, 0, false]),
    );

    payloads = [];
    const arrived = requests.map((request, nth) => ({ ...request, facts: factsOf(sizes[nth] ?? 0) }));
    expect(await receiveImages(gateway.db, arrived, 'somebody', () => nothing)).to.have.length(IMAGES);
    const receipts = await heard(id, 1 + 2 * IMAGES);
    expect(receipts.map(seen)).to.deep.equal(
      requests.map(({ imageId }, n) => [
        ...[imageId, 'received', n + 2 + IMAGES, n + 1 === IMAGES ? 'processing' : 'uploading', IMAGES, n + 1, 0],
        ...[total, sums[n], 0, false],
      ]),
    );

    payloads = [];
    const stored = await recordStored(
      gateway.db,
      requests.map(({ imageId, size }) => ({ imageId, receipt: receiptOf(size ?? 0) })),
      nothing,
    );
    expect(stored.map(({ ticket }) => ticket.version)).to.deep.equal(requests.map((_, n) => n + 2 + 2 * IMAGES));
    const ends = await heard(id, 1 + 3 * IMAGES);
    expect(ends.map(seen)).to.deep.equal(
      requests.map(({ imageId }, n) => [
        ...[
          imageId,
          'stored',
          n + 2 + 2 * IMAGES,
          n + 1 === IMAGES ? 'completed' : 'processing',
          IMAGES,
          IMAGES,
          n + 1,
        ],
        ...[total, total, sums[n], n + 1 === IMAGES],
      ]),
    );
    const { idempotency_key, idempotency_sha256, ...row } = await ticketRow(id);
    expect(ends.at(-1)?.ticket).to.deep.equal(row);
    expect(payloads.length, 'what does not fit goes in parts').to.be.within(2, IMAGES);
  });
});
