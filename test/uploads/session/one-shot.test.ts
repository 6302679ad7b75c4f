import { randomUUIDv7 } from 'node:crypto';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import pino from 'pino';
import { sql } from '../../../src/database/sql.ts';
import { type Gateway, startGateway } from '../../../src/gateway.ts';
import { claimPlace, claimPlaces, type PlaceRequest, type TakePlace } from '../../../src/ledger/claim-slots.ts';
import { unknownFacts } from '../../../src/model/image-facts.ts';
import { passBy } from '../../../src/runtime/failpoints.ts';
import { createIntake } from '../../../src/staging/ingest.ts';
import { createBufferPool } from '../../../src/staging/local/buffer-pool.ts';
import { openStaging } from '../../../src/staging/local/folder.ts';
import { startDiskThread } from '../../../src/staging/local/io-thread.ts';
import { createWholes, type WholeDeps } from '../../../src/uploads/session/one-shot.ts';
import { OFFSET_STREAM } from '../../../src/uploads/tus/upload-body.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../../support/client.ts';
import { type CutProxy, startCutProxy } from '../../support/cut-proxy.ts';
import { sha256Of } from '../../support/digest.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createLogBook } from '../../transfers/rig.ts';
import { createEndpoint } from '../raw.ts';

/** Where nobody waits for images, the statement that makes one received is all there is; its parameters have this. */
const commitOf = (bytes: Buffer) => [sha256Of(bytes)];

describe('an image that came whole with its creation', () => {
  const book = createLogBook();
  let gateway: TestGateway;
  let cutOff: Gateway;
  let proxy: CutProxy;
  let api: Api;
  let held: Promise<void> | undefined;
  let seed = 0;
  const photo = () => {
    seed += 1;
    return jpeg({ bytes: 100_000, seed });
  };
  /** Of the process whose database goes away. */
  const startCutOff = async (PORT = 0) => {
    const { config } = gateway;
    const settings = { ...config, PORT, DATABASE_URL: proxy.url, TRANSFER_CONCURRENCY: 0 };
    cutOff = await startGateway(settings, book.log, (point) => (point === 'upload.synced' ? held : undefined));
  };
  before(async () => {
    gateway = await startTestGateway();
    api = createApi(gateway.url, (await gateway.createUser()).token);
    proxy = await startCutProxy(gateway.config.DATABASE_URL);
    await startCutOff();
  });
  after(async () => {
    proxy.restore();
    await cutOff.close();
    await gateway.close();
    await proxy.close();
  });
  const through = ({ url }: Gateway, ticket: Json) => ({
    ...ticket,
    uploadUrl: ticket.uploadUrl.replace(gateway.url, url),
  });
  const expectStoredOnce = async (ticketId: string, bytes: Buffer) => {
    const { images } = await untilCompleted(api, ticketId);
    expect(images.map(({ sha256 }: Json) => sha256)).to.deep.equal([sha256Of(bytes)]);
    const sent = gateway.cloudinary.ledger.entries({ publicId: images[0].storage.key, operation: 'upload' });
    expect(sent.filter(({ stored }) => stored)).to.have.length(1);
    await until('its file is gone', async () => !(await gateway.stagedFiles()).includes(images[0].id));
    return images[0].id as string;
  };
  /** An image that a process cannot commit, as its database goes away just before that, or so it thinks. */
  const leaveUncommitted = async (when: 'before' | 'after' = 'before') => {
    const bytes = photo();
    const ticket = await api.openTicket(1);
    const cut = proxy.trap(commitOf(bytes), when);
    const { status, headers } = await createEndpoint(through(cutOff, ticket)).create({
      size: bytes.length,
      body: bytes,
    });
    await cut;
    expect(`${status} ${headers['upload-offset']}`).to.equal(`201 ${bytes.length - 1}`);
    const url = String(headers.location).replace(cutOff.url, gateway.url);
    return { ticket, bytes, url, endpoint: createEndpoint(ticket), id: url.split('/').at(-1) ?? '' };
  };

  it('is not given up by other processes while the one lives that has it in mind', async () => {
    const { ticket, bytes, url, endpoint, id } = await leaveUncommitted();
    expect((await endpoint.head(url)).status).to.equal(423);
    // Recovers as it starts.
    const third = await startGateway({ ...gateway.config, PORT: 0, TRANSFER_CONCURRENCY: 0 }, book.log);
    await third.close();
    expect(await gateway.stagedFiles()).to.deep.equal([id]);
    proxy.restore();
    await until(
      'it is committed',
      async () => (await endpoint.head(url)).headers['upload-offset'] === `${bytes.length}`,
    );
    expect(await expectStoredOnce(ticket.id, bytes)).to.equal(id);
  });

  it('is left alone by the recovery of other processes until it is committed', async () => {
    const bytes = photo();
    const ticket = await api.openTicket(1);
    const hold = Promise.withResolvers<void>();
    held = hold.promise;
    const creating = createEndpoint(through(cutOff, ticket)).create({ size: bytes.length, body: bytes });
    const [id] = await until('its file is here', async () => {
      const files = await gateway.stagedFiles();
      return files.length > 0 ? files : null;
    });
    const third = await startGateway({ ...gateway.config, PORT: 0, TRANSFER_CONCURRENCY: 0 }, book.log);
    await third.close();
    expect(await gateway.stagedFiles()).to.deep.equal([id]);
    hold.resolve();
    held = undefined;
    expect((await creating).headers['upload-offset']).to.equal(`${bytes.length}`);
    expect(await expectStoredOnce(ticket.id, bytes)).to.equal(id);
  });

  it('is stored once when only the answer to its commit was lost', async () => {
    const { ticket, bytes, url, id } = await leaveUncommitted('after');
    expect(await expectStoredOnce(ticket.id, bytes)).to.equal(id);
    proxy.restore();
    const { head } = createEndpoint(through(cutOff, ticket));
    const sameUrl = url.replace(gateway.url, cutOff.url);
    await until(
      'its process finds it',
      async () => (await head(sameUrl)).headers['upload-offset'] === `${bytes.length}`,
    );
    expect(await expectStoredOnce(ticket.id, bytes)).to.equal(id);
  });

  it('is sent again by its client when the process ends that had it in mind', async () => {
    const bytes = photo();
    const ticket = await api.openTicket(1);
    const cut = proxy.trap(commitOf(bytes), 'before');
    const asked: string[] = [];
    let created = '';
    const uploading = tusUpload(bytes, {
      ...tusOptions(through(cutOff, ticket)),
      uploadDataDuringCreation: true,
      retryDelays: Array(100).fill(50),
      onAfterResponse(request, response) {
        asked.push(`${request.getMethod()} ${response.getStatus()}`);
        created ||= response.getHeader('Location') ?? '';
      },
    });
    await cut;
    await until('its client has its address', () => created !== '');
    await cutOff.close();
    proxy.restore();
    await startCutOff(Number(new URL(cutOff.url).port));
    await uploading;
    expect(asked.filter((one) => one.startsWith('POST'))).to.deep.equal(['POST 201', 'POST 201']);
    expect(asked).to.include('HEAD 404');
    const id = await expectStoredOnce(ticket.id, bytes);
    expect(created).not.to.include(id);
    await until('its first file is set aside', async () => (await gateway.stagedFiles()).length === 0);
  });

  it('finds itself when its COMMIT is still on its way, though the time of its ticket has run out', async () => {
    const ticket = await api.openTicket(1);
    await gateway
      .db('tickets')
      .where({ id: ticket.id })
      .update({ expires_at: new Date(Date.now() + 300) });
    const request = placeRequest(ticket.id);
    const takePlace: TakePlace = async (place) =>
      (await claimPlaces(gateway.db, [place], () => sql`SELECT`))[0] ?? null;
    const first = await gateway.db.transaction();
    expect(await claimPlaces(first, [request], () => sql`SELECT`)).to.have.length(1);
    await until('the time has run out', async () => Date.now() > new Date(ticket.createdAt).getTime() + 400);
    const again = claimPlace(gateway.db, takePlace, request);
    again.catch(() => {});
    await until('it waits for the first', async () => {
      const { rows } = await gateway.db.raw(
        "SELECT count(*)::int AS waiting FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      );
      return rows[0].waiting === 1;
    });
    await first.commit();
    expect((await again).image.id).to.equal(request.imageId);
  });

  it('is tried one time after the other, however many ask', async () => {
    const { STAGING_DIR: directory } = gateway.config;
    const staging = await openStaging({ directory, budgetBytes: 1e9, freeBytes: 0 });
    const gates: PromiseWithResolvers<null>[] = [];
    const takePlace: TakePlace = () => {
      gates.push(Promise.withResolvers());
      return gates.at(-1)?.promise ?? Promise.resolve(null);
    };
    const buffers = createBufferPool();
    const disk = startDiskThread({ directory, sniffs: false, buffers });
    const log = pino({ level: 'silent' });
    const intake = createIntake({
      acceptedTypes: ['*/*'],
      limits: { pixels: 1 },
      staging,
      offsets: { wrote() {}, keep() {}, forget() {} },
      disk,
      buffers,
      wanted: () => false,
      log,
    });
    const wholes = createWholes({
      ...{ db: gateway.db, staging, reach: passBy, log, limits: { bytes: 1e6, pixels: 1 } },
      arrivals: { takePlace, receive: async () => false },
      dailyImages: { take: async () => async () => {} },
      intake,
      holders: { claim: () => '' },
      peers: { askAll: async () => {} },
    } satisfies WholeDeps);
    const ticket = await api.openTicket(1);
    const request = { ...placeRequest(ticket.id), facts: null };
    const headers = { 'content-length': '100', 'content-type': OFFSET_STREAM };
    const receiving = wholes.receive(request, '', Object.assign(Readable.from([Buffer.alloc(100)]), { headers }));
    await until('it is tried', () => gates.length === 1);
    gates[0]?.reject(new Error('Connection terminated'));
    expect(await receiving).to.deep.equal({ imageId: request.imageId, offset: 99 });
    const settling = [1, 2].map(() => wholes.settle(request.imageId).catch((error) => error.code));
    await until('it is tried again', () => gates.length > 1);
    expect(await wholes.isComing(request.imageId)).to.equal(true);
    gates[1]?.reject(new Error('Connection terminated'));
    expect(await Promise.all(settling)).to.deep.equal(['upload-uncommitted', 'upload-uncommitted']);
    expect(gates, 'tries').to.have.length(2);
    await until('it is tried again by itself', () => gates.length === 3);
    // No place, and no row: it has one no more, for which the ticket may not have been full meanwhile.
    await gateway.db('tickets').where({ id: ticket.id }).update({ expires_at: new Date() });
    gates[2]?.resolve(null);
    await until('its file is gone', async () => (await staging.sizeOf(request.imageId)) === null);
    expect(await wholes.isComing(request.imageId)).to.equal(false);
    wholes.close();
    await disk.close();
  });
});

function placeRequest(ticketId: string) {
  const facts = { ...unknownFacts, size: 100, sha256: 'a'.repeat(64) };
  return {
    ...{ ticketId, imageId: randomUUIDv7(), slot: null, size: 100, filename: null, uploadMetadata: null },
    ...{ expectedSha256: null, staging: 'nowhere', holder: null, facts },
  } satisfies PlaceRequest;
}
