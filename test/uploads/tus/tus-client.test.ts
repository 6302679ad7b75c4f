import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import * as tus from 'tus-js-client';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../../support/client.ts';
import { type CutProxy, startCutProxy } from '../../support/cut-proxy.ts';
import { sha256Of } from '../../support/digest.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { watchLeaks } from '../leaks.ts';
import { createEndpoint, expectProblem } from '../raw.ts';

// Exported for Node, and missing in its types.
const { FileUrlStorage } = tus as unknown as { FileUrlStorage: new (path: string) => tus.UrlStorage };
const MIB = 1024 * 1024;
const BUDGET = 300 * MIB;
const cameraFiles = new URL('../../../shared/photos/real/', import.meta.url);

describe('tus-js-client', () => {
  let gateway: TestGateway;
  let proxy: CutProxy;
  /** Past the proxy, and through it. */
  let api: Api;
  let proxied: Api;
  let leaks: ReturnType<typeof watchLeaks>;
  before(async () => {
    leaks = watchLeaks();
    gateway = await startTestGateway({ STAGING_BUDGET_BYTES: `${BUDGET}`, MAX_IMAGE_BYTES: `${BUDGET}` });
    proxy = await startCutProxy(gateway.url);
    const { token } = await gateway.createUser();
    api = createApi(gateway.url, token);
    proxied = createApi(proxy.url, token);
  });
  afterEach(() => proxy.restore());
  after(async () => {
    await gateway.close();
    await proxy.close();
  });

  const expectStored = async (ticketId: string, photos: Buffer[]) => {
    const ticket = await untilCompleted(api, ticketId);
    const images = ticket.images.filter((image: Json) => image.status === 'stored');
    const hashes = images.map((image: Json) => image.sha256).sort();
    expect(hashes).to.deep.equal(photos.map(sha256Of).sort());
    for (const image of images) {
      const stored = Buffer.from(await (await fetch(image.url)).arrayBuffer());
      expect(sha256Of(stored)).to.equal(image.sha256);
      const sent = gateway.cloudinary.ledger.entries({ publicId: image.storage.key, operation: 'upload' });
      expect(sent.map((entry) => entry.stored)).to.deep.equal([true]);
    }
  };
  for (const [what, options] of Object.entries({
    'in one piece': {},
    'in pieces of 4 KiB': { chunkSize: 4 * 1024 },
    'with its creation': { uploadDataDuringCreation: true },
    'with its creation, in pieces': { uploadDataDuringCreation: true, chunkSize: 50_000 },
    'by POST alone': { overridePatchMethod: true, chunkSize: 100_000 },
    'with request ids and metadata': {
      addRequestId: true,
      metadata: { filename: 'Straße 🌻.jpg', filetype: 'image/jpeg' },
    },
  } satisfies Record<string, tus.UploadOptions>)) {
    it(`sends an image ${what}`, async () => {
      const photo = jpeg({ bytes: 400_000, seed: 11 });
      const ticket = await api.openTicket(1);
      await tusUpload(photo, { ...tusOptions(ticket), ...options });
      await expectStored(ticket.id, [photo]);
    });
  }

  it('sends a stream whose length it does not know', async () => {
    const photo = jpeg({ bytes: 1_000_001, seed: 12 });
    for (const uploadDataDuringCreation of [false, true]) {
      const ticket = await api.openTicket(1);
      await tusUpload(Readable.from(pieces(photo, 70_000)), {
        ...tusOptions(ticket),
        uploadLengthDeferred: true,
        uploadDataDuringCreation,
        chunkSize: 300_000,
      });
      await expectStored(ticket.id, [photo]);
    }
  });

  it('sends an image of 40 MiB', async () => {
    const photo = jpeg({ bytes: 40 * MIB, seed: 13 });
    const ticket = await api.openTicket(1);
    await tusUpload(photo, tusOptions(ticket));
    await expectStored(ticket.id, [photo]);
  });

  it('goes on by itself when its connection is cut, again and again', async () => {
    const photo = jpeg({ bytes: 8 * MIB, seed: 14 });
    const ticket = await proxied.openTicket(1);
    let cut = proxy.after(10_000, 'cut');
    const uploading = tusUpload(photo, tusOptions(ticket));
    for (const bytes of [MIB, 2 * MIB, 3 * MIB]) {
      await cut;
      cut = proxy.after(bytes, 'cut');
      proxy.restore();
    }
    await cut;
    proxy.restore();
    await uploading;
    await expectStored(ticket.id, [photo]);
  });

  it('goes on in a new client that finds the upload in its storage', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hopla-urls-'));
    const photo = jpeg({ bytes: 8 * MIB, seed: 15 });
    const ticket = await proxied.openTicket(1);
    const options = { ...tusOptions(ticket), urlStorage: new FileUrlStorage(join(folder, 'urls.json')) };
    const cut = proxy.after(3 * MIB, 'cut');
    const first = tusUpload(photo, { ...options, retryDelays: null }).catch((error: Error) => error);
    await cut;
    expect(await first).to.be.instanceOf(Error);
    proxy.restore();

    const requests: string[] = [];
    await new Promise<void>((resolve, reject) => {
      const upload = new tus.Upload(photo, {
        ...options,
        removeFingerprintOnSuccess: true,
        onBeforeRequest: (request) => {
          requests.push(`${request.getMethod()} ${request.getHeader('Upload-Offset') ?? ''}`);
        },
        onError: reject,
        onSuccess: () => resolve(),
      });
      upload.findPreviousUploads().then(([previous]) => {
        if (!previous) return reject(new Error('no previous upload'));
        upload.resumeFromPreviousUpload(previous);
        upload.start();
      }, reject);
    });
    // Not from the start, and with no new creation.
    expect(requests.join()).to.match(/^HEAD ,PATCH [1-9]\d*$/);
    await expectStored(ticket.id, [photo]);
    await rm(folder, { recursive: true });
  });

  it('goes on in a new client that is told the address, however often it is told', async () => {
    const photo = jpeg({ bytes: 200_000, seed: 16 });
    const ticket = await api.openTicket(1);
    const uploadUrl = await createEndpoint(ticket).begin({ size: photo.length, body: photo.subarray(0, 77_777) });
    for (let times = 0; times < 3; times += 1) await tusUpload(photo, { ...tusOptions(ticket), uploadUrl });
    await expectStored(ticket.id, [photo]);
    const late = await tusUpload(photo, { ...tusOptions(ticket), uploadUrl });
    expect(late.url, 'after it was stored').to.equal(uploadUrl);
  });

  it('that lost the answer to its creation finds its upload by the slot', async () => {
    const photo = jpeg({ bytes: 200_000, seed: 17 });
    const ticket = await proxied.openTicket(1);
    const posts: string[] = [];
    const created = proxy.trap(['POST /v1/tickets/'], 'after');
    const uploading = tusUpload(photo, {
      ...tusOptions(ticket),
      metadata: { slot: 'only' },
      retryDelays: Array(20).fill(50),
      onBeforeRequest: (request) => void posts.push(request.getMethod()),
    });
    await created;
    await until('the lost creation has its place', async () => (await api.ticket(ticket.id)).counts.uploading === 1);
    proxy.restore();
    await uploading;
    expect(posts.filter((method) => method === 'POST').length).to.be.greaterThan(1);
    await expectStored(ticket.id, [photo]);
  });

  it('twenty at once fill a ticket of ten, and no more', async () => {
    const ticket = await api.openTicket(10);
    const photos = Array.from({ length: 20 }, (_, seed) => jpeg({ bytes: 100_000 + seed, seed: 100 + seed }));
    const ends = await Promise.allSettled(
      photos.map((photo, index) =>
        tusUpload(photo, { ...tusOptions(ticket), uploadDataDuringCreation: index % 2 === 0, chunkSize: 40_000 }),
      ),
    );
    const sent = photos.filter((_, index) => ends[index]?.status === 'fulfilled');
    expect(sent).to.have.lengthOf(10);
    for (const end of ends) {
      if (end.status === 'fulfilled') continue;
      expect(end.reason.originalResponse.getStatus()).to.equal(422);
      expect(JSON.parse(end.reason.originalResponse.getBody()).code).to.equal('ticket-full');
    }
    await expectStored(ticket.id, sent);
    expect((await api.ticket(ticket.id)).counts.stored).to.equal(10);
  });

  it('two at once on one upload both end well', async () => {
    const photo = jpeg({ bytes: 8 * MIB, seed: 18 });
    for (const chunkSize of [Number.POSITIVE_INFINITY, 256 * 1024]) {
      const ticket = await api.openTicket(1);
      const uploadUrl = await createEndpoint(ticket).begin({ size: photo.length });
      const options = { ...tusOptions(ticket), uploadUrl, chunkSize, retryDelays: Array(200).fill(50) };
      const uploads = await Promise.all([tusUpload(photo, options), tusUpload(photo, options)]);
      expect(uploads.map(({ url }) => url)).to.deep.equal([uploadUrl, uploadUrl]);
      await expectStored(ticket.id, [photo]);
    }
  });

  it('ends well while others keep asking where its upload stands', async () => {
    const photo = jpeg({ bytes: 10 * MIB, seed: 19 });
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const uploadUrl = await endpoint.begin({ size: photo.length });
    const end = { reached: false };
    const uploading = tusUpload(photo, { ...tusOptions(ticket), uploadUrl, retryDelays: Array(200).fill(20) });
    const ended = uploading.finally(() => {
      end.reached = true;
    });
    const offsets: number[] = [];
    while (!end.reached) {
      const { status, headers } = await endpoint.head(uploadUrl);
      expect(status).to.equal(200);
      offsets.push(Number(headers['upload-offset']));
    }
    await ended;
    expect(offsets).to.deep.equal(offsets.toSorted((a, b) => a - b));
    await expectStored(ticket.id, [photo]);
  });

  it('takes an upload back by abort(true), and its place with it', async () => {
    const ticket = await api.openTicket(1);
    const photo = jpeg({ bytes: 2 * MIB, seed: 20 });
    await new Promise<void>((resolve, reject) => {
      const upload = new tus.Upload(photo, {
        ...tusOptions(ticket),
        chunkSize: MIB,
        onError: reject,
        onChunkComplete: () => upload.abort(true).then(resolve, reject),
      });
      upload.start();
    });
    const { counts, images } = await api.ticket(ticket.id);
    expect(counts.uploading).to.equal(0);
    expect(images[0].status).to.equal('cancelled');
    await tusUpload(photo, tusOptions(ticket));
    await expectStored(ticket.id, [photo]);
  });

  it('pauses by abort() and goes on by start()', async () => {
    const ticket = await proxied.openTicket(1);
    const photo = jpeg({ bytes: 8 * MIB, seed: 21 });
    const frozen = proxy.after(3 * MIB, 'freeze');
    await new Promise<void>((resolve, reject) => {
      const upload = new tus.Upload(photo, { ...tusOptions(ticket), onError: reject, onSuccess: () => resolve() });
      upload.start();
      frozen
        .then(() => upload.abort())
        .then(() => {
          proxy.restore();
          upload.start();
        }, reject);
    });
    await expectStored(ticket.id, [photo]);
  });

  it('that wants to send in parallel parts is refused, and takes no place', async () => {
    const ticket = await api.openTicket(2);
    const error = await tusUpload(jpeg({ bytes: MIB }), { ...tusOptions(ticket), parallelUploads: 2 }).catch(
      (reason) => reason,
    );
    expect(error.originalResponse.getStatus()).to.equal(400);
    expect((await api.ticket(ticket.id)).counts.uploading).to.equal(0);
  });

  it('sends what cameras and phones made', async function () {
    if (!existsSync(cameraFiles)) return this.skip();
    const names = await readdir(cameraFiles);
    const photos = await Promise.all(names.map((name) => readFile(new URL(name, cameraFiles))));
    const ticket = await api.openTicket(photos.length);
    await Promise.all(photos.map((photo) => tusUpload(photo, { ...tusOptions(ticket), chunkSize: 200_000 })));
    await expectStored(ticket.id, photos);
    const { images } = await api.ticket(ticket.id);
    for (const image of images) expect(Math.min(image.width, image.height), image.format).to.be.greaterThan(0);
  });

  it('leaves nothing open, nothing in staging, and all of the budget', async () => {
    await leaks.check(gateway);
    const endpoint = createEndpoint(await api.openTicket(1));
    await endpoint.remove(await endpoint.begin({ size: BUDGET }));
    expectProblem(await endpoint.create({ size: BUDGET + 1 }), 413, 'image-too-large');
  });
});

function* pieces(photo: Buffer, bytes: number): Generator<Buffer> {
  for (let at = 0; at < photo.length; at += bytes) yield photo.subarray(at, at + bytes);
}
