import { getEventListeners } from 'node:events';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'chai';
import type { FaultRule } from '../../../packages/sandbox/cloudinary/faults.ts';
import { type SandboxCloudinaryOptions, startSandboxCloudinary } from '../../../packages/sandbox/cloudinary/server.ts';
import { HoplaError } from '../../../src/model/errors.ts';
import { createCloudinaryStorage } from '../../../src/storage/cloudinary/store.ts';
import { displayName } from '../../../src/storage/display-name.ts';
import type { Receipt, StagedImage, Storage } from '../../../src/storage/port.ts';
import { nothingLeft, watchLeftovers } from '../leftovers.ts';
import { createStaging, gif } from '../staged.ts';

const noAbort = new AbortController().signal;
const patient = { maxSockets: 4, minBytesPerSecond: 1e6, answerTimeoutMs: 10_000, idleTimeoutMs: 10_000 };
/** For whom waits in vain: 500 ms, and 120 ms more for an image of 12 MB. */
const hasty = { ...patient, minBytesPerSecond: 1e8, answerTimeoutMs: 500 };
/** Far more than the socket buffers take of a body that nobody reads; needed for faults in the middle of one. */
const large = gif(12_000_000);
const small = gif(200_000);
const inTheMiddle = ['not-reading', 'reset-at-byte', 'early-answer'];

describe('the Cloudinary storage', () => {
  const releases: (() => unknown)[] = [];
  let staging: Awaited<ReturnType<typeof createStaging>>;
  let leftovers: ReturnType<typeof watchLeftovers>;

  beforeEach(async () => {
    staging = await createStaging();
    releases.push(staging.remove);
    leftovers = watchLeftovers();
    releases.push(leftovers.stop);
  });
  afterEach(async () => {
    for (const release of releases.splice(0).reverse()) await release();
  });

  async function start(options: Omit<SandboxCloudinaryOptions, 'directory'> = {}) {
    const directory = join(staging.directory, 'cloudinary');
    const server = await startSandboxCloudinary({ directory, ...options });
    releases.push(server.close);
    const connect = (limits: typeof patient, cloudinaryUrl = server.cloudinaryUrl) => {
      const storage = createCloudinaryStorage({ cloudinaryUrl, folder: 'photos/incoming', ...limits });
      releases.push(storage.close);
      return storage;
    };
    const assets = async () => {
      const names = await readdir(join(directory, 'records'));
      return Promise.all(
        names.map(async (name) => JSON.parse(await readFile(join(directory, 'records', name), 'utf8'))),
      );
    };
    const uploads = (id: string) =>
      server.ledger.entries({ publicId: `photos/incoming/${id}`, operation: 'upload' }).map((entry) => {
        const { overwrite, existing, stored, ended } = entry;
        return { overwrite, existing, stored, ended };
      });
    return { server, connect, assets, uploads, storage: connect(patient) };
  }

  const put = (storage: Storage, image: StagedImage) => storage.prepare(image)({ signal: noAbort });

  async function failureOf(promise: Promise<unknown>): Promise<HoplaError> {
    const error = await promise.then(
      () => expect.fail('it succeeded'),
      (reason: unknown) => reason,
    );
    if (error instanceof HoplaError) return error;
    throw error;
  }

  async function storedBytes(receipt: Receipt): Promise<Buffer> {
    const response = await fetch(receipt.url);
    expect(response.status).to.equal(200);
    return Buffer.from(await response.arrayBuffer());
  }

  it('sends nothing of an image that is made ready before that is asked for, and nothing is left of it otherwise', async () => {
    const { storage, server } = await start();
    const bytes = gif(20_000);
    const [image, other] = [
      await staging.stage(bytes, { content: bytes }),
      await staging.stage(bytes, { content: bytes }),
    ];
    const [put] = [storage.prepare(image), storage.prepare(other)];
    await setTimeout(100);
    expect(server.ledger.entries({})).to.deep.equal([]);
    expect(leftovers.kept()).to.equal(0);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
    expect(await storedBytes(await put({ signal: noAbort }))).to.deep.equal(bytes);
    expect(server.ledger.entries({ operation: 'upload' })).to.have.length(1);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
  });

  it('stores an image byte for byte and hands out its receipt', async () => {
    const { storage, assets, uploads } = await start();
    const image = await staging.stage(large);
    const progress: number[] = [];
    const receipt = await storage.prepare(image)({ signal: noAbort, onProgress: (bytes) => progress.push(bytes) });

    const [asset] = await assets();
    expect(receipt).to.deep.equal({
      provider: 'cloudinary',
      key: `photos/incoming/${image.id}`,
      assetId: asset.assetId,
      version: `${asset.version}`,
      url: receipt.url,
      bytes: image.bytes,
      md5: image.md5,
      width: 4,
      height: 3,
      format: 'gif',
    });
    expect((await storedBytes(receipt)).equals(large)).to.equal(true);
    expect(progress.at(-1)).to.equal(image.bytes);
    expect(progress).to.deep.equal(progress.toSorted((a, b) => a - b));
    expect(uploads(image.id)).to.deep.equal([{ overwrite: false, existing: false, stored: true, ended: true }]);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
    expect(leftovers.kept()).to.equal(1);
  });

  it('adopts what an earlier try left', async () => {
    const { server, storage, assets, uploads } = await start();
    const image = await staging.stage();
    server.faults.add({ times: 1, fault: { kind: 'reset-after-storing' } });
    expect((await failureOf(put(storage, image))).code).to.equal('storage-unavailable');
    const [before] = await assets();

    const receipt = await put(storage, image);
    expect(await assets()).to.deep.equal([before]);
    expect(receipt.assetId).to.equal(before.assetId);
    expect(uploads(image.id)).to.deep.equal([
      { overwrite: false, existing: false, stored: true, ended: true },
      { overwrite: false, existing: true, stored: false, ended: true },
    ]);
  });

  it('overwrites what is there when it is something else', async () => {
    const { storage, assets, uploads } = await start();
    const old = await staging.stage();
    await put(storage, old);
    const bytes = gif(2_000_000);
    const image = await staging.stage(bytes, { id: old.id });
    const progress: number[] = [];
    const receipt = await storage.prepare(image)({ signal: noAbort, onProgress: (sent) => progress.push(sent) });

    expect((await storedBytes(receipt)).equals(bytes)).to.equal(true);
    expect(await assets()).to.have.length(1);
    expect(uploads(image.id).slice(1)).to.deep.equal([
      { overwrite: false, existing: true, stored: false, ended: true },
      { overwrite: true, existing: false, stored: true, ended: true },
    ]);
    // Two bodies were sent; a person who watches sees the image go once.
    expect(progress).to.deep.equal([...new Set(progress)].toSorted((a, b) => a - b));
  });

  const faults: [fault: FaultRule['fault'], code: string, limits?: typeof patient][] = [
    [{ kind: 'status', status: 400, message: 'Invalid image file' }, 'storage-refused'],
    [{ kind: 'status', status: 413, html: true }, 'storage-refused'],
    [{ kind: 'status', status: 401 }, 'storage-misconfigured'],
    [{ kind: 'status', status: 403, html: true }, 'storage-misconfigured'],
    [{ kind: 'status', status: 404 }, 'storage-misconfigured'],
    [{ kind: 'status', status: 420 }, 'storage-unavailable'],
    [{ kind: 'status', status: 500, stores: true }, 'storage-unavailable'],
    [{ kind: 'status', status: 502, html: true }, 'storage-unavailable'],
    [{ kind: 'status', status: 504, stores: true, html: true }, 'storage-unavailable'],
    [{ kind: 'reset-at-byte', byte: 0 }, 'storage-unavailable'],
    [{ kind: 'reset-at-byte', byte: 1_000_000 }, 'storage-unavailable'],
    [{ kind: 'reset-at-byte', byte: large.length }, 'storage-unavailable'],
    [{ kind: 'reset-before-storing' }, 'storage-unavailable'],
    [{ kind: 'reset-after-storing' }, 'storage-unavailable'],
    [{ kind: 'early-answer', status: 413, afterwards: 'drain' }, 'storage-refused'],
    [{ kind: 'early-answer', status: 413, afterwards: 'stall' }, 'storage-refused'],
    [{ kind: 'early-answer', status: 503, html: true, afterwards: 'close' }, 'storage-unavailable'],
    [{ kind: 'wrong-etag' }, 'storage-mismatch'],
    [{ kind: 'truncated-copy', bytes: 1000, reports: 'truncated' }, 'storage-mismatch'],
    [{ kind: 'delay', ms: 20_000 }, 'storage-unavailable', hasty],
    [{ kind: 'hang' }, 'storage-unavailable', hasty],
    [{ kind: 'hang', stores: true }, 'storage-unavailable', hasty],
    [{ kind: 'not-reading' }, 'storage-unavailable', hasty],
    [{ kind: 'dripped-answer', everyMs: 50 }, 'storage-unavailable', hasty],
  ];
  for (const [fault, code, limits = patient] of faults) {
    it(`survives ${JSON.stringify(fault)}: ${code} soon, nothing left open, and the next try stores the image`, async () => {
      const { server, connect, storage, assets } = await start();
      const bytes = inTheMiddle.includes(fault.kind) ? large : small;
      const image = await staging.stage(bytes);
      server.faults.add({ times: 1, fault });
      const started = performance.now();
      expect((await failureOf(put(connect(limits), image))).code).to.equal(code);
      // Whoever waits for the deadline of a patient one needs 22 s.
      expect(performance.now() - started).to.be.lessThan(5000);
      expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
      expect(getEventListeners(noAbort, 'abort')).to.deep.equal([]);

      const receipt = await put(storage, image);
      expect((await storedBytes(receipt)).equals(bytes)).to.equal(true);
      expect(await assets()).to.have.length(1);
    });
  }

  // As large as is gathered before there is a connection, and as large as is ever in memory.
  for (const kib of [48, 256])
    describe(`of an image of ${kib} KiB that was read before`, () => {
      const bytes = gif(kib * 1024);
      const stage = () => staging.stage(bytes, { content: bytes });
      const shortFaults: [fault: FaultRule['fault'], code: string, limits?: typeof patient][] = [
        [{ kind: 'status', status: 413, html: true }, 'storage-refused'],
        [{ kind: 'reset-at-byte', byte: 0 }, 'storage-unavailable'],
        [{ kind: 'reset-at-byte', byte: 10_000 }, 'storage-unavailable'],
        [{ kind: 'reset-after-storing' }, 'storage-unavailable'],
        [{ kind: 'early-answer', status: 413, afterwards: 'stall' }, 'storage-refused'],
        [{ kind: 'truncated-copy', bytes: 1000, reports: 'truncated' }, 'storage-mismatch'],
        [{ kind: 'not-reading' }, 'storage-unavailable', hasty],
      ];
      for (const [fault, code, limits = patient] of shortFaults) {
        it(`survives ${JSON.stringify(fault)}: ${code} soon, nothing left open, and the next try stores it`, async () => {
          const { server, connect, storage, assets } = await start();
          const image = await stage();
          server.faults.add({ times: 1, fault });
          expect((await failureOf(put(connect(limits), image))).code).to.equal(code);
          expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
          expect(getEventListeners(noAbort, 'abort')).to.deep.equal([]);
          expect((await storedBytes(await put(storage, image))).equals(bytes)).to.equal(true);
          expect(await assets()).to.have.length(1);
        });
      }

      it('stores twenty at once over one connection, each byte for byte, and tells the progress', async () => {
        const { connect, assets } = await start();
        const storage = connect({ ...patient, maxSockets: 1 });
        const images = await Promise.all(Array.from({ length: 20 }, stage));
        const sent: number[] = [];
        const receipts = await Promise.all(
          images.map((image) => storage.prepare(image)({ signal: noAbort, onProgress: (total) => sent.push(total) })),
        );
        for (const receipt of receipts) expect((await storedBytes(receipt)).equals(bytes)).to.equal(true);
        expect(sent).to.deep.equal(images.map(() => bytes.length));
        expect(await assets()).to.have.length(20);
        expect(leftovers.kept()).to.equal(1);
      });

      it('overwrites what is there when it is something else', async () => {
        const { storage, uploads } = await start();
        const old = await staging.stage();
        await put(storage, old);
        const image = await staging.stage(bytes, { id: old.id, content: bytes });
        expect((await storedBytes(await put(storage, image))).equals(bytes)).to.equal(true);
        expect(uploads(image.id).map(({ overwrite, stored }) => [overwrite, stored])).to.deep.equal([
          [false, true],
          [false, false],
          [true, true],
        ]);
      });

      it('does not believe what was read when it is not the whole image', async () => {
        const { storage } = await start();
        const image = await staging.stage(bytes, { content: bytes.subarray(1) });
        expect((await storedBytes(await put(storage, image))).equals(bytes)).to.equal(true);
      });
    });

  it('does not read on when the store does not', async () => {
    const { server, connect } = await start();
    server.faults.add({ fault: { kind: 'not-reading' } });
    let sent = 0;
    const image = await staging.stage(Buffer.concat([large, large, large, large]));
    await failureOf(connect(hasty).prepare(image)({ signal: noAbort, onProgress: (bytes) => (sent = bytes) }));
    expect(sent).to.be.within(1, 30_000_000);
  });

  it('hands on how long the store wants to be left alone', async () => {
    const { server, storage } = await start();
    server.faults.add({ fault: { kind: 'status', status: 429, retryAfterSeconds: 17 } });
    expect((await failureOf(put(storage, await staging.stage()))).retryAfterMs).to.equal(17_000);
  });

  it('stores although our clock is two hours slow', async () => {
    const { storage, uploads } = await start({ now: () => Date.now() + 7_200_000 });
    const image = await staging.stage();
    const { key } = await put(storage, image);
    expect(uploads(image.id).map(({ stored }) => stored)).to.deep.equal([false, true]);
    const next = await staging.stage();
    await put(storage, next);
    expect(uploads(next.id)).to.have.length(1);
    // The SDK takes no timestamp for this one.
    const failure = await failureOf(storage.remove(key, noAbort));
    expect(failure.code).to.equal('storage-unavailable');
    expect(failure.message).to.contain('Stale request');
  });

  const hostile: [string, string][] = [
    ['quotes', 'a"; filename="b\'c.gif'],
    ['line breaks', 'a\r\n\r\n--boundary\r\nContent-Disposition: form-data; name="public_id"\r\n\r\nmine.gif'],
    ['NUL', 'a\0.gif'],
    ['emoji', '👩‍🚀🌄.gif'],
    ['10 KiB', 'é'.repeat(5120)],
    ['what a signature is made of', 'a&public_id=mine&overwrite=true|b=c\\.gif'],
    ['a path', '../../../etc/passwd'],
  ];
  for (const [what, filename] of hostile) {
    it(`keeps a file name with ${what} harmless`, async () => {
      const { storage, assets } = await start();
      const image = await staging.stage(undefined, { filename });
      const receipt = await put(storage, image);
      expect(receipt.key).to.equal(`photos/incoming/${image.id}`);
      expect((await assets()).map(({ originalFilename }) => originalFilename)).to.deep.equal([
        parse(displayName(filename) ?? '').name,
      ]);
    });
  }

  it('ends in the middle when it is told to', async () => {
    const { server, storage, uploads } = await start();
    server.faults.add({ times: 1, fault: { kind: 'not-reading' } });
    const image = await staging.stage(large);
    const abort = new AbortController();
    const reason = new Error('enough');
    const onProgress = (bytes: number) => bytes > 100_000 && abort.abort(reason);
    const error = await storage
      .prepare(image)({ signal: abort.signal, onProgress })
      .catch((thrown) => thrown);

    expect(error).to.equal(reason);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
    expect(getEventListeners(abort.signal, 'abort')).to.deep.equal([]);
    const ended = () => uploads(image.id).every((upload) => upload.ended && !upload.stored);
    await server.ledger.waitFor(ended, 2000, 'the end of the aborted upload');
  });

  it('asks nothing when it was told to end before', async () => {
    const { storage, uploads } = await start();
    const image = await staging.stage();
    const reason = new Error('never mind');
    const error = await storage
      .prepare(image)({ signal: AbortSignal.abort(reason) })
      .catch((thrown) => thrown);
    expect(error).to.equal(reason);
    expect(uploads(image.id)).to.deep.equal([]);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
  });

  it('ends while it waits for a connection', async () => {
    const { server, connect } = await start();
    server.faults.add({ fault: { kind: 'hang' } });
    const storage = connect({ ...patient, maxSockets: 1 });
    const abort = new AbortController();
    const [first, second] = [await staging.stage(), await staging.stage()];
    const puts = [first, second].map((image) => storage.prepare(image)({ signal: abort.signal }));
    await server.ledger.waitFor((entries) => entries.some(({ bytes }) => bytes > 0), 2000, 'the first upload');
    abort.abort(new Error('enough'));
    const outcomes = await Promise.allSettled(puts);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['rejected', 'rejected']);
    expect(await leftovers.settled(second.path)).to.deep.equal(nothingLeft);
  });

  it('stores twenty images at once over four connections', async () => {
    const { storage, assets } = await start();
    const images = await Promise.all(Array.from({ length: 20 }, () => staging.stage(gif(500_000))));
    const receipts = await Promise.all(images.map((image) => put(storage, image)));
    expect(receipts.map(({ md5 }) => md5)).to.deep.equal(images.map(({ md5 }) => md5));
    expect(await assets()).to.have.length(20);
    for (const image of images) expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
    expect(leftovers.kept()).to.equal(4);
  });

  it('does not count the waiting for a connection as the slowness of the store', async () => {
    const { server, connect } = await start();
    server.faults.add({ fault: { kind: 'delay', ms: 900 } });
    const storage = connect({ ...hasty, answerTimeoutMs: 1500, maxSockets: 1 });
    const images = [await staging.stage(), await staging.stage()];
    await Promise.all(images.map((image) => put(storage, image)));
  });

  it('says that the staged file is gone, or not whole, without asking the store', async () => {
    const { server, storage } = await start();
    const lost = await staging.stage();
    await rm(lost.path);
    expect((await failureOf(put(storage, lost))).code).to.equal('staged-file-lost');
    const cut = { ...(await staging.stage()), bytes: 100_001 };
    expect((await failureOf(put(storage, cut))).code).to.equal('staged-file-lost');
    expect(await leftovers.settled(cut.path)).to.deep.equal(nothingLeft);
    expect(server.ledger.entries()).to.deep.equal([]);
  });

  it('removes an asset, twice without harm', async () => {
    const { storage, assets } = await start();
    const { key } = await put(storage, await staging.stage());
    await storage.remove(key, noAbort);
    expect(await assets()).to.deep.equal([]);
    await storage.remove(key, noAbort);
  });

  it('says whether the store answers and accepts the account', async () => {
    const { server, storage, connect } = await start();
    await storage.check(noAbort);
    const stranger = connect(patient, server.cloudinaryUrl.replace(/:\w+@/, ':another-secret@'));
    expect((await failureOf(stranger.check(noAbort))).code).to.equal('storage-misconfigured');
    expect((await failureOf(put(stranger, await staging.stage()))).code).to.equal('storage-misconfigured');
    server.faults.add({ fault: { kind: 'hang' } });
    const image = await staging.stage();
    expect((await failureOf(connect(hasty).check(noAbort))).code).to.equal('storage-unavailable');
    expect((await failureOf(connect(hasty).remove('x', noAbort))).code).to.equal('storage-unavailable');
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
  });

  it('can be closed twice, and ends what is under way', async () => {
    const { server, storage } = await start();
    server.faults.add({ fault: { kind: 'hang' } });
    const image = await staging.stage();
    const failure = failureOf(put(storage, image));
    await server.ledger.waitFor((entries) => entries.some(({ bytes }) => bytes > 0), 2000, 'the upload');
    const started = performance.now();
    storage.close();
    storage.close();
    expect((await failure).code).to.equal('storage-unavailable');
    expect(performance.now() - started).to.be.lessThan(5000);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
  });
});
