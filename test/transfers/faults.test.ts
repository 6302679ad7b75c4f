import { expect } from 'chai';
import type { Fault } from '../../packages/sandbox/cloudinary/faults.ts';
import { retryImage } from '../../src/admin/operations/images.ts';
import { openStaging } from '../../src/staging/local/folder.ts';
import { createBoss } from '../../src/transfers/queue.ts';
import { type Api, createApi, type Json, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import {
  type Begun,
  beginUpload,
  createLogBook,
  expectStoredOnce,
  type LogBook,
  openFiles,
  storedAssets,
  untilImage,
} from './rig.ts';

/** More than the socket buffers take of a body that nobody reads: for faults in the middle of one. */
const LARGE = 12_000_000;
const SMALL = 150_000;
const isInTheMiddle = (fault: Fault) =>
  fault.kind === 'not-reading' ||
  (fault.kind === 'reset-at-byte' && fault.byte > SMALL) ||
  (fault.kind === 'early-answer' && fault.afterwards === 'stall');

const early = { kind: 'early-answer', status: 503 } as const;

/** Faults after which the same image is simply sent again, and with what it fails when that never helps. */
const passing: [fault: Fault, code: string][] = [
  [{ kind: 'status', status: 400, html: true }, 'storage-unavailable'],
  [{ kind: 'status', status: 408 }, 'storage-unavailable'],
  [{ kind: 'status', status: 420 }, 'storage-unavailable'],
  [{ kind: 'status', status: 500 }, 'storage-unavailable'],
  [{ kind: 'status', status: 500, stores: true }, 'storage-unavailable'],
  [{ kind: 'status', status: 502, html: true }, 'storage-unavailable'],
  [{ kind: 'status', status: 503, html: true }, 'storage-unavailable'],
  [{ kind: 'status', status: 504, html: true, stores: true }, 'storage-unavailable'],
  [{ kind: 'delay', ms: 20_000 }, 'storage-unavailable'],
  [{ kind: 'hang' }, 'storage-unavailable'],
  [{ kind: 'hang', stores: true }, 'storage-unavailable'],
  [{ kind: 'not-reading' }, 'storage-unavailable'],
  [{ kind: 'reset-at-byte', byte: 0 }, 'storage-unavailable'],
  [{ kind: 'reset-at-byte', byte: 1_000_001 }, 'storage-unavailable'],
  [{ kind: 'reset-at-byte', byte: SMALL }, 'storage-unavailable'],
  [{ kind: 'reset-after-storing' }, 'storage-unavailable'],
  [{ kind: 'reset-before-storing' }, 'storage-unavailable'],
  [{ ...early, afterwards: 'drain' }, 'storage-unavailable'],
  [{ ...early, afterwards: 'stall' }, 'storage-unavailable'],
  [{ ...early, html: true, afterwards: 'close' }, 'storage-unavailable'],
  [{ kind: 'wrong-etag' }, 'storage-mismatch'],
  [{ kind: 'truncated-copy', bytes: 1000, reports: 'truncated' }, 'storage-mismatch'],
  [{ kind: 'dripped-answer', everyMs: 50 }, 'storage-unavailable'],
];

/** Ends only when we are tired of waiting. */
const isSilent = (fault: Fault) => ['hang', 'delay', 'dripped-answer'].includes(fault.kind);

/** Whether the first try already leaves our bytes in the storage. */
const storesFirst = (fault: Fault) =>
  ['delay', 'dripped-answer', 'reset-after-storing', 'wrong-etag'].includes(fault.kind) ||
  ('stores' in fault && fault.stores === true);

describe('an image whose transfer goes wrong', () => {
  let gateway: TestGateway;
  let api: Api;
  let book: LogBook;
  let seed = 0;
  let sent = new Map<Fault, { bytes: Buffer; begun: Begun }>();
  const cloudinaryDirectory = () => `${gateway.config.DATA_DIR}/cloudinary`;
  const uploads = ({ imageId }: Begun) =>
    gateway.cloudinary.ledger.entries({ publicId: `hopla/${imageId}`, operation: 'upload' });
  const photo = (fault?: Fault) => {
    seed += 1;
    return jpeg({ bytes: fault && isInTheMiddle(fault) ? LARGE : SMALL, seed });
  };
  /** Sends an image in a ticket of its own to a storage that does this to it; resolves once it is received. */
  const send = async (bytes: Buffer, fault: Fault, times?: number) => {
    const begun = await beginUpload(api, await api.openTicket(1), bytes);
    gateway.cloudinary.faults.add({
      match: { publicId: `hopla/${begun.imageId}`, operation: 'upload' },
      ...(times === undefined ? {} : { times }),
      fault,
    });
    await begun.send();
    return begun;
  };
  /** Sends an image for each fault, all at once: one after the other would only take longer. */
  const sendAll = async (times?: number) => {
    sent = new Map();
    const sending = passing.map(async ([fault]) => {
      const bytes = photo(fault);
      sent.set(fault, { bytes, begun: await send(bytes, fault, times) });
    });
    await Promise.all(sending);
  };
  const sentWith = (fault: Fault) => {
    const found = sent.get(fault);
    if (!found) throw new Error(`nothing was sent with ${JSON.stringify(fault)}`);
    return found;
  };
  const start = async (attempts: number) => {
    book = createLogBook();
    const settings = {
      TRANSFER_ATTEMPTS: `${attempts}`,
      TRANSFER_TIMEOUT_SECONDS: '2',
      TRANSFER_MIN_BYTES_PER_SECOND: '5000000',
      TRANSFER_CONCURRENCY: '8',
    };
    gateway = await startTestGateway(settings, book.log);
    api = createApi(gateway.url, (await gateway.createUser()).token);
  };
  /** Has an admin send these images again. */
  const retry = async (all: Begun[]) => {
    const staging = await openStaging({ directory: gateway.config.STAGING_DIR, budgetBytes: 0, freeBytes: 0 });
    const boss = createBoss(gateway.config.DATABASE_URL, book.log);
    await boss.start();
    const deps = { db: gateway.db, by: { name: 'cli:test', userId: null }, staging, boss: async () => boss };
    for (const { imageId } of all) await retryImage(deps, imageId);
    await boss.stop({ graceful: false });
  };
  const expectNothingLeft = async () => {
    await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
    expect(openFiles(gateway.config.STAGING_DIR)).to.deep.equal([]);
  };

  describe('once', () => {
    before(async () => {
      await start(50);
      await sendAll(1);
    });
    after(() => gateway.close());

    for (const [fault] of passing) {
      it(`is stored by the second try after ${JSON.stringify(fault)}`, async () => {
        const { bytes, begun } = sentWith(fault);
        const image = await untilImage(api, begun, ['stored']);
        // A connection that was idle may be reset at any time: what comes of that is repeated at once, and not counted.
        expect(image.attempts).to.be.within(fault.kind.startsWith('reset') ? 0 : 1, 1);
        await expectStoredOnce(cloudinaryDirectory(), image, bytes);
        expect((await api.ticket(begun.ticket.id)).status).to.equal('completed');
        expect(uploads(begun)[0]).to.include({ fault: fault.kind });
      });
    }

    for (const [fault] of passing.filter(([fault]) => storesFirst(fault))) {
      it(`adopts what the storage has after ${JSON.stringify(fault)}, instead of storing it again`, async () => {
        const { begun } = sentWith(fault);
        await untilImage(api, begun, ['stored']);
        const entries = uploads(begun);
        expect(entries.filter(({ stored }) => stored)).to.have.length(1);
        expect(entries.at(-1)).to.include({ existing: true, stored: false });
      });
    }

    it('leaves no file, no descriptor and no busy connection behind', async () => {
      await expectNothingLeft();
      const ticket = await api.openTicket(16);
      const begun = await Promise.all(Array.from({ length: 16 }, () => beginUpload(api, ticket, photo())));
      await Promise.all(begun.map((upload) => upload.send()));
      await untilCompleted(api, ticket.id);
      await expectNothingLeft();
      expect(await storedAssets(cloudinaryDirectory())).to.have.length(passing.length + 16);
    });
  });

  describe('again and again, each time in another way', () => {
    before(() => start(50));
    after(() => gateway.close());

    it('is stored once all the same', async () => {
      const quick = passing.map(([fault]) => fault).filter((fault) => !isInTheMiddle(fault) && !isSilent(fault));
      expect(quick).to.have.length.above(10);
      const sending = quick.map(async (first, index) => {
        const faults = [first, ...[1, 2].map((more) => quick[(index + more * 5) % quick.length] as Fault)];
        const bytes = photo();
        const begun = await beginUpload(api, await api.openTicket(1), bytes);
        for (const [nth, fault] of faults.entries()) {
          const match = { publicId: `hopla/${begun.imageId}`, operation: 'upload', attempt: nth + 1 } as const;
          gateway.cloudinary.faults.add({ match, fault });
        }
        await begun.send();
        return { bytes, begun, faults };
      });
      const tries: number[] = [];
      for (const { bytes, begun, faults } of await Promise.all(sending)) {
        const image = await untilImage(api, begun, ['stored']);
        // One that stored it before may make the next of no effect: what is there is adopted.
        expect(image.attempts, JSON.stringify(faults)).to.be.within(0, faults.length);
        tries.push(image.attempts);
        await expectStoredOnce(cloudinaryDirectory(), image, bytes);
      }
      expect(tries.filter((attempts) => attempts > 1)).to.have.length.above(5);
      await expectNothingLeft();
    });
  });

  describe('every time', () => {
    before(async () => {
      await start(2);
      await sendAll();
    });
    after(() => gateway.close());

    for (const [fault, code] of passing) {
      it(`keeps its file and waits for an admin after ${JSON.stringify(fault)}`, async () => {
        const { begun } = sentWith(fault);
        const image = await untilImage(api, begun, ['failed', 'stored']);
        expect(image).to.include({ status: 'failed', attempts: 2 });
        expect(image.error.code).to.equal(code);
        expect(await gateway.stagedFiles()).to.include(begun.imageId);
        const ticket = await api.ticket(begun.ticket.id);
        expect(ticket).to.deep.include({ status: 'processing' });
        expect(ticket.counts).to.deep.equal({ expected: 1, uploading: 0, received: 0, stored: 0, failed: 1 });
      });
    }

    it('is stored when the storage is well and an admin retries it', async () => {
      await Promise.all([...sent.values()].map(({ begun }) => untilImage(api, begun, ['failed'])));
      expect(openFiles(gateway.config.STAGING_DIR)).to.deep.equal([]);
      gateway.cloudinary.faults.clear();
      await retry([...sent.values()].map(({ begun }) => begun));
      for (const { begun, bytes } of sent.values()) {
        await expectStoredOnce(cloudinaryDirectory(), await untilImage(api, begun, ['stored']), bytes);
        expect((await api.ticket(begun.ticket.id)).status).to.equal('completed');
      }
      expect(await storedAssets(cloudinaryDirectory())).to.have.length(passing.length);
      await expectNothingLeft();
    });
  });

  describe('and the storage says why', () => {
    before(() => start(2));
    after(() => gateway.close());
    afterEach(() => gateway.cloudinary.faults.clear());

    const refusals: Fault[] = [
      { kind: 'status', status: 400, message: 'Invalid image file' },
      { kind: 'status', status: 413 },
      { kind: 'status', status: 413, html: true },
      { kind: 'early-answer', status: 413, afterwards: 'stall' },
    ];
    for (const fault of refusals) {
      it(`is failed at once, with its file and its place, until an admin acts, after ${JSON.stringify(fault)}`, async () => {
        const bytes = photo(fault);
        const begun = await send(bytes, fault);
        const image = await untilImage(api, begun, ['failed']);
        expect(image).to.deep.include({ attempts: 1 });
        expect(image.error).to.deep.equal({
          code: 'storage-refused',
          message: 'The storage refuses this image; it is kept here until an administrator acts',
        });
        expect(uploads(begun)).to.have.length(1);
        expect(await gateway.stagedFiles()).to.include(begun.imageId);
        const ticket = await api.ticket(begun.ticket.id);
        expect(ticket.status).to.equal('processing');
        expect(ticket.counts).to.deep.equal({ expected: 1, uploading: 0, received: 0, stored: 0, failed: 1 });
        const alarm = book.lines.find(({ msg, imageId }) => /^ALARM.*refuses/.test(msg) && imageId === begun.imageId);
        expect(alarm).to.include({ level: 50, code: 'storage-refused' });
        expect(alarm?.err.message).to.contain('Cloudinary answered');

        gateway.cloudinary.faults.clear();
        await retry([begun]);
        await expectStoredOnce(cloudinaryDirectory(), await untilImage(api, begun, ['stored']), bytes);
        await expectNothingLeft();
      });
    }

    it('is failed and kept when the storage has a smaller limit, and stored once that is raised', async () => {
      const limits: Fault = { kind: 'media-limits', image_max_size_bytes: SMALL - 1 };
      gateway.cloudinary.faults.add({ fault: limits });
      const bytes = photo();
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      await begun.send();
      const image = await untilImage(api, begun, ['failed']);
      expect(image.error.code).to.equal('storage-refused');
      expect(JSON.stringify(image)).not.to.match(/upgrade|cloudinary/i);
      const row = await gateway.db('images').where({ id: begun.imageId }).first();
      expect(row.error_message).to.contain('Upgrade your plan');

      gateway.cloudinary.faults.clear();
      await gateway.restart({ TRANSFER_CONCURRENCY: '2' });
      expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
      await retry([begun]);
      await expectStoredOnce(cloudinaryDirectory(), await untilImage(api, begun, ['stored']), bytes);
    });

    for (const status of [401, 403]) {
      it(`waits, loudly and without using up tries, while the account is refused with ${status}`, async () => {
        const fault: Fault = { kind: 'status', status, html: status === 403 };
        gateway.cloudinary.faults.add({ match: { operation: 'ping' }, fault });
        const bytes = photo();
        const begun = await send(bytes, fault);
        await until('the log says it', () =>
          book.lines.some(({ level, msg, err }) => level >= 50 && /ALARM/.test(msg) && err?.message.includes(status)),
        );
        const image = await untilImage(api, begun, ['received']);
        expect(image).to.deep.include({ attempts: 0 });
        expect(image.error.code).to.equal('storage-misconfigured');
        expect(uploads(begun)).to.have.length(1);
        gateway.cloudinary.faults.clear();
        const stored = await untilImage(api, begun, ['stored']);
        expect(stored).to.deep.include({ attempts: 0 });
        await expectStoredOnce(cloudinaryDirectory(), stored, bytes);
        await expectNothingLeft();
      });
    }

    for (const status of [420, 429, 503]) {
      it(`leaves the storage alone for as long as it asks with ${status}`, async () => {
        const bytes = Array.from({ length: 12 }, () => photo());
        const ticket = await api.openTicket(bytes.length);
        const all = await Promise.all(bytes.map((each) => beginUpload(api, ticket, each)));
        const fault: Fault = { kind: 'status', status, retryAfterSeconds: 2 };
        gateway.cloudinary.faults.add({ match: { operation: 'upload' }, times: 1, fault });
        await Promise.all(all.map((begun) => begun.send()));
        const completed = await untilCompleted(api, ticket.id);
        expect(completed.images.map(({ attempts }: Json) => attempts)).to.deep.equal(bytes.map(() => 0));
        for (const image of completed.images) {
          const index = all.findIndex(({ imageId }) => imageId === image.id);
          await expectStoredOnce(cloudinaryDirectory(), image, bytes[index] as Buffer);
        }
        const times = gateway.cloudinary.ledger.entries().map(({ at }) => Date.parse(at));
        const refusedAt = Date.parse(
          gateway.cloudinary.ledger.entries().findLast(({ answered }) => answered === status)?.at ?? '',
        );
        // Others may have been on their way when the answer came; it takes a moment itself.
        expect(times.filter((at) => at > refusedAt + 200 && at < refusedAt + 1_990)).to.deep.equal([]);
        await expectNothingLeft();
      });
    }

    it('is tried again when its time has come, and not when a worker happens to look', async () => {
      // A lone worker looks every ten seconds, unless it is woken.
      await gateway.restart({ TRANSFER_CONCURRENCY: '1' });
      const begun = await send(photo(), { kind: 'status', status: 500 }, 1);
      expect(await untilImage(api, begun, ['stored'], 6_000)).to.include({ attempts: 1 });
    });
  });
});
