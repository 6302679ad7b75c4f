import { expect } from 'chai';
import type { JobWithMetadata, PgBoss } from 'pg-boss';
import { Image } from '../../src/database/models.ts';
import { moveImage } from '../../src/ledger/move-images.ts';
import { HoplaError } from '../../src/model/errors.ts';
import { passBy, type Reach } from '../../src/runtime/failpoints.ts';
import { createBufferPool } from '../../src/staging/local/buffer-pool.ts';
import { openStaging, type Staging } from '../../src/staging/local/folder.ts';
import { startDiskThread } from '../../src/staging/local/io-thread.ts';
import { createCloudinaryStorage } from '../../src/storage/cloudinary/store.ts';
import type { Receipt } from '../../src/storage/port.ts';
import { createBreaker } from '../../src/transfers/breaker.ts';
import { ClaimLost } from '../../src/transfers/failure.ts';
import { createRecords } from '../../src/transfers/grouped-records.ts';
import { type Claim, queueOf, type TransferJob } from '../../src/transfers/job.ts';
import { createSending } from '../../src/transfers/prepare.ts';
import { createBoss } from '../../src/transfers/queue.ts';
import { createTurns } from '../../src/transfers/send-slots.ts';
import { type TransferDeps, transferImage } from '../../src/transfers/transfer.ts';
import { type Api, createApi } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { type Begun, beginUpload, createLogBook, expectStoredOnce, type LogBook, untilImage } from './rig.ts';

const noAbort = new AbortController().signal;

/** Two workers at one image: it happens when one is taken for dead, and comes back. */
describe('a worker', () => {
  let gateway: TestGateway;
  let api: Api;
  let boss: PgBoss;
  let staging: Staging;
  let book: LogBook;
  let deps: TransferDeps;
  let begun: Begun;
  const bytes = jpeg({ bytes: 100_000 });
  const resources = new AsyncDisposableStack();

  const fetchJob = async () => {
    const [job] = await boss.fetch<TransferJob>(queueOf(staging.id), { includeMetadata: true });
    if (!job) throw new Error('there is no job to fetch');
    return job as JobWithMetadata<TransferJob>;
  };
  /** As reclaim.ts and pg-boss do with a worker that shows no sign of life. */
  const takeAway = () =>
    gateway.db.raw(`UPDATE pgboss.job SET state = 'retry', start_after = now() WHERE id = ?`, [begun.imageId]);
  const image = async () => (await Image.query(gateway.db).findById(begun.imageId)) ?? expect.fail('no image');
  /** `gone` as when it has ended with what it achieved. */
  const jobState = async () =>
    (await gateway.db.raw('SELECT state FROM pgboss.job WHERE id = ?', [begun.imageId])).rows[0]?.state ?? 'gone';
  const failOnce = (status: number, message = 'trouble') =>
    gateway.cloudinary.faults.add({
      match: { operation: 'upload' },
      times: 1,
      fault: { kind: 'status', status, message },
    });
  const failureOf = (run: Promise<unknown>) =>
    run.then(
      () => expect.fail('it did not fail'),
      (error) => error,
    );
  const at =
    (point: Parameters<Reach>[0], act: () => Promise<unknown>): Reach =>
    (reached) =>
      reached === point ? act().then(() => undefined) : undefined;

  before(async () => {
    gateway = await startTestGateway({ TRANSFER_CONCURRENCY: '0' });
    resources.defer(() => gateway.close());
    api = createApi(gateway.url, (await gateway.createUser()).token);
    book = createLogBook();
    boss = createBoss(gateway.config.DATABASE_URL, book.log);
    await boss.start();
    resources.defer(() => boss.stop({ graceful: false }));
    staging = await openStaging({ directory: gateway.config.STAGING_DIR, budgetBytes: 1e9, freeBytes: 0 });
    const disk = startDiskThread({ directory: staging.directory, sniffs: false, buffers: createBufferPool() });
    resources.defer(() => disk.close());
    const storage = createCloudinaryStorage({
      cloudinaryUrl: gateway.config.STORAGE_URL,
      folder: 'hopla',
      maxSockets: 2,
      minBytesPerSecond: 1e6,
      answerTimeoutMs: 5_000,
      idleTimeoutMs: 5_000,
    });
    resources.defer(() => storage.close());
    const breaker = createBreaker(storage, book.log);
    resources.defer(() => breaker.close());
    deps = {
      db: gateway.db,
      boss,
      records: createRecords(gateway.db),
      staging,
      prepare: createSending(storage, staging, (imageId) => disk.check(imageId, 0)),
      storage,
      breaker,
      takeTurn: createTurns(2).take,
      reportProgress: () => {},
      countStored: () => {},
      giveBack: async () => false,
      maxAttempts: 1,
      reach: passBy,
      log: book.log,
    };
  });
  after(() => resources.disposeAsync());
  beforeEach(async () => {
    begun = await beginUpload(api, await api.openTicket(1), bytes);
    await begun.send();
  });
  afterEach(async () => {
    gateway.cloudinary.faults.clear();
    expect(await gateway.stagedFiles()).to.deep.equal([]);
  });

  for (const [what, status, message] of [
    ['give up', 500, 'trouble'],
    ['give up on what the storage refuses', 400, 'Invalid image file'],
  ] as const) {
    it(`that lost its job cannot ${what}: the other one decides`, async () => {
      const first = await fetchJob();
      await takeAway();
      const second = await fetchJob();
      failOnce(status, message);
      expect(await failureOf(transferImage(deps, first, noAbort))).to.be.instanceOf(ClaimLost);
      expect(await image()).to.include({ status: 'transferring', attempts: 0 });
      expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
      expect(await jobState()).to.equal('active');

      expect(await transferImage(deps, second, noAbort)).to.deep.equal({ state: 'done' });
      await expectStoredOnce(`${gateway.config.DATA_DIR}/cloudinary`, await untilImage(api, begun, ['stored']), bytes);
      expect(await jobState()).to.equal('gone');
    });
  }

  it('takes back what it sent of an image that was deleted meanwhile', async () => {
    const job = await fetchJob();
    const reach = at('transfer.answered', () => moveImage(gateway.db, begun.imageId, ['transferring'], 'cancelled'));
    expect(await transferImage({ ...deps, reach }, job, noAbort)).to.deep.equal({ state: 'done' });
    expect((await image()).status).to.equal('cancelled');
    const answered = gateway.cloudinary.ledger
      .entries({ publicId: `hopla/${begun.imageId}` })
      .map(({ operation, answered }) => `${operation} ${answered}`);
    expect(answered).to.deep.equal(['upload 200', 'destroy 200']);
    expect(await jobState()).to.equal('gone');
  });

  /** Deletes the image's row by hand, as an older backup of the database is without it. */
  const loseRow = async () => {
    await gateway.db('images').where({ id: begun.imageId }).delete();
    return () => staging.remove(begun.imageId);
  };

  it('leaves an image alone, here and in the storage, whose row is gone without anybody having deleted it', async () => {
    const job = await fetchJob();
    let tidy: (() => Promise<void>) | undefined;
    const reach = at('transfer.answered', async () => {
      tidy = await loseRow();
    });
    expect(await transferImage({ ...deps, reach }, job, noAbort)).to.deep.equal({ state: 'done' });
    expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
    const asked = gateway.cloudinary.ledger.entries({ publicId: `hopla/${begun.imageId}` });
    expect(asked.map(({ operation }) => operation)).to.deep.equal(['upload']);
    expect(book.lines.filter(({ msg, imageId }) => /^ALARM/.test(msg) && imageId === begun.imageId)).to.have.length(1);
    await tidy?.();
  });

  it('leaves the file of an image alone that has a job and no row', async () => {
    const job = await fetchJob();
    const tidy = await loseRow();
    expect(await transferImage(deps, job, noAbort)).to.deep.equal({ state: 'done' });
    expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
    expect(gateway.cloudinary.ledger.entries({ publicId: `hopla/${begun.imageId}` })).to.deep.equal([]);
    await tidy();
  });

  it('counts a receipt that no table takes as a failure, with a code and a delay', async () => {
    const records = {
      ...deps.records,
      store: (claim: Claim, receipt: Receipt) => deps.records.store(claim, { ...receipt, key: 'a\0b' }),
    };
    const end = await transferImage({ ...deps, records, maxAttempts: 2 }, await fetchJob(), noAbort);
    expect(end).to.have.property('delayMs').above(0);
    const tried = await image();
    expect(tried).to.include({ status: 'received', attempts: 1, errorCode: 'storage-unavailable' });
    await gateway.db('pgboss.job').where({ id: begun.imageId }).update({ start_after: gateway.db.fn.now() });
    await transferImage(deps, await fetchJob(), noAbort);
    await expectStoredOnce(`${gateway.config.DATA_DIR}/cloudinary`, await untilImage(api, begun, ['stored']), bytes);
  });

  it('that lost its job and succeeds all the same is believed, and the other one finds it done', async () => {
    const first = await fetchJob();
    await takeAway();
    const second = await fetchJob();
    await transferImage(deps, first, noAbort);
    expect((await image()).status).to.equal('stored');
    expect(await jobState()).to.equal('active');
    expect(await transferImage(deps, second, noAbort)).to.deep.equal({ state: 'done' });
    expect(await jobState()).to.equal('completed');
    await expectStoredOnce(`${gateway.config.DATA_DIR}/cloudinary`, await untilImage(api, begun, ['stored']), bytes);
  });

  for (const [how, ms, steps] of [
    ['notes that a transfer begins, should it take a while', 600, ['transferring', 'stored']],
    ['leaves out the note of one that is over before', 0, ['stored']],
  ] as const) {
    it(`that fetches an image with its job ${how}`, async () => {
      gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'delay', ms } });
      const versionOf = async () => (await api.ticket(begun.ticket.id)).version;
      const before = await versionOf();
      const job = await fetchJob();
      const reached: string[] = [];
      const reach: Reach = (point) => {
        if (!point.endsWith('sending')) reached.push(point);
        return undefined;
      };
      await transferImage({ ...deps, reach }, { ...job, image: await image() }, noAbort);
      expect(reached.includes('transfer.begun')).to.equal(steps.length > 1);
      expect(await versionOf()).to.equal(before + steps.length);
      await expectStoredOnce(`${gateway.config.DATA_DIR}/cloudinary`, await untilImage(api, begun, ['stored']), bytes);
    });
  }

  it('counts the failures of an image that was not noted as begun', async () => {
    failOnce(500);
    const job = await fetchJob();
    await transferImage({ ...deps, maxAttempts: 2 }, { ...job, image: await image() }, noAbort);
    expect(await image()).to.include({ status: 'received', attempts: 1, errorCode: 'storage-unavailable' });
    expect(await jobState()).to.equal('retry');
    await gateway.db.raw('UPDATE pgboss.job SET start_after = now() WHERE id = ?', [begun.imageId]);
    await transferImage(deps, await fetchJob(), noAbort);
    expect(await image()).to.include({ status: 'stored', attempts: 1 });
  });

  it('gives no alarm when the file went because the image was cancelled', async () => {
    const cancel = async () => {
      await moveImage(gateway.db, begun.imageId, ['transferring'], 'cancelled');
      await staging.remove(begun.imageId);
    };
    const job = await fetchJob();
    await transferImage({ ...deps, reach: at('transfer.begun', cancel) }, job, noAbort);
    expect((await image()).status).to.equal('cancelled');
    expect(await jobState()).to.equal('completed');
    expect(book.lines.filter(({ msg, imageId }) => msg.includes('ALARM') && imageId === begun.imageId)).to.deep.equal(
      [],
    );
  });

  it('keeps the file of a failed image whose job is still there', async () => {
    const job = await fetchJob();
    await moveImage(gateway.db, begun.imageId, ['received'], 'failed');
    await transferImage(deps, job, noAbort);
    expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
    expect(await jobState()).to.equal('completed');
    await staging.remove(begun.imageId);
  });

  it('sends nothing while the storage wants to be left alone, not even what it had begun', async () => {
    const pausing = {
      ...deps,
      reach: at('transfer.begun', () =>
        deps.breaker.judge(new HoplaError('storage-unavailable', 'wait', { retryAfterMs: 300 })),
      ),
    };
    const job = await fetchJob();
    const since = performance.now();
    await transferImage(pausing, job, noAbort);
    expect(performance.now() - since).to.be.greaterThan(290);
    await expectStoredOnce(`${gateway.config.DATA_DIR}/cloudinary`, await untilImage(api, begun, ['stored']), bytes);
  });
});
