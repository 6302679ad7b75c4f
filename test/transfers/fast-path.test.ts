import { expect } from 'chai';
import type { PgBoss } from 'pg-boss';
import type { Database } from '../../src/database/connection.ts';
import { Image } from '../../src/database/models.ts';
import { query, sql } from '../../src/database/sql.ts';
import { unknownFacts } from '../../src/model/image-facts.ts';
import { createBufferPool } from '../../src/staging/local/buffer-pool.ts';
import { openStaging } from '../../src/staging/local/folder.ts';
import { startDiskThread } from '../../src/staging/local/io-thread.ts';
import { createCloudinaryStorage } from '../../src/storage/cloudinary/store.ts';
import { SMALL_BYTES } from '../../src/storage/port.ts';
import { createBreaker } from '../../src/transfers/breaker.ts';
import { createFastPath } from '../../src/transfers/fast-path.ts';
import { createRecords } from '../../src/transfers/grouped-records.ts';
import { enqueueTransfers } from '../../src/transfers/pgboss-sql.ts';
import { createSending } from '../../src/transfers/prepare.ts';
import { createBoss } from '../../src/transfers/queue.ts';
import type { TransferDeps } from '../../src/transfers/transfer.ts';
import { startWorkers, type Workers } from '../../src/transfers/worker.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway, useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createHost, type Host } from './child.ts';
import { type Begun, beginUpload, createLogBook, expectStoredOnce, untilImage } from './rig.ts';

const small = jpeg({ bytes: 20_000 });
const whole = { uploadDataDuringCreation: true };

describe('an image that was just received', () => {
  const { gateway, api } = useGateway({ TRANSFER_CONCURRENCY: '1' });
  afterEach(() => gateway.cloudinary.faults.clear());

  /** Whether the job, which is there as long as the image is not stored, was claimed in the transaction that queued it. */
  const handedOver = async (id: string): Promise<boolean> => {
    const { rows } = await gateway.db.raw('SELECT started_on = created_on AS given FROM pgboss.job WHERE id = ?', [id]);
    expect(rows).to.have.length(1);
    return rows[0].given === true;
  };
  const letStoreTakeItsTime = () => gateway.cloudinary.faults.add({ times: 1, fault: { kind: 'delay', ms: 1_000 } });
  const imagesOf = async (ticket: Json): Promise<Json[]> => (await api.ticket(ticket.id)).images;

  for (const [how, bytes, options] of [
    ['whole with its creation', small, whole],
    ['in pieces', jpeg({ bytes: 300_000 }), { chunkSize: 100_000 }],
  ] as const) {
    it(`goes to the worker that waits, when it came ${how}`, async () => {
      letStoreTakeItsTime();
      const ticket = await api.openTicket(1);
      await tusUpload(bytes, { ...tusOptions(ticket), ...options });
      expect(await handedOver((await imagesOf(ticket))[0]?.id)).to.equal(true);
      const { images } = await untilCompleted(api, ticket.id);
      await expectStoredOnce(`${gateway.config.DATA_DIR}/cloudinary`, images[0], bytes);
    });
  }

  it('waits in the queue while the worker has another, and is stored after it', async () => {
    letStoreTakeItsTime();
    const ticket = await api.openTicket(2);
    for (const _ of 'ab') await tusUpload(small, { ...tusOptions(ticket), ...whole });
    const given = await Promise.all((await imagesOf(ticket)).map(({ id }) => handedOver(id)));
    expect(given.toSorted()).to.deep.equal([false, true]);
    await untilCompleted(api, ticket.id);
  });

  it('waits in the queue while the storage wants to be left alone', async () => {
    gateway.cloudinary.faults.add({
      match: { operation: 'upload' },
      times: 1,
      fault: { kind: 'status', status: 429, retryAfterSeconds: 1 },
    });
    const ticket = await api.openTicket(2);
    await tusUpload(small, { ...tusOptions(ticket), ...whole });
    await until('the first was refused', async () => (await imagesOf(ticket))[0]?.error);
    await tusUpload(small, { ...tusOptions(ticket), ...whole });
    const second = (await imagesOf(ticket)).find(({ error }) => !error);
    expect(await handedOver(second?.id)).to.equal(false);
    await untilCompleted(api, ticket.id);
  });

  it('is taken back from the storage when it was cancelled before anybody could note that it goes there', async () => {
    gateway.cloudinary.faults.add({ times: 1, fault: { kind: 'delay', ms: 500 } });
    const ticket = await api.openTicket(1);
    await tusUpload(small, { ...tusOptions(ticket), ...whole });
    const [image] = await imagesOf(ticket);
    await gateway.db('images').where({ id: image?.id }).update({ status: 'cancelled' });
    const calls = () => gateway.cloudinary.ledger.entries({ publicId: `hopla/${image?.id}` });
    await until('it was removed', async () => calls().some(({ operation, ended }) => operation === 'destroy' && ended));
    await until('its file went', async () => (await gateway.stagedFiles()).length === 0);
  });
});

describe('a process that is killed while it hands an image over', () => {
  let host: Host;
  before(async () => {
    host = await createHost();
  });
  after(() => host.close());

  for (const failpoint of ['upload.committed', 'transfer.fetched', 'transfer.sending', 'transfer.answered']) {
    it(`at ${failpoint}: the next one stores it once`, async () => {
      const dying = await host.start({ HOPLA_FAILPOINTS: `${failpoint}=kill` });
      const api = createApi(host.url, host.token);
      const ticket = await api.openTicket(1);
      const retryDelays = Array.from({ length: 200 }, () => 100);
      const phone = tusUpload(small, { ...tusOptions(ticket), ...whole, metadata: { slot: 'only' }, retryDelays });
      expect(await dying.ended).to.equal('SIGKILL');
      const next = await host.start();
      await phone;
      const { images } = await untilCompleted(api, ticket.id);
      await expectStoredOnce(host.cloudinaryDirectory, images[0], small);
      const uploads = host.cloudinary.ledger.entries({ operation: 'upload', publicId: `hopla/${images[0].id}` });
      expect(uploads.filter(({ stored }) => stored)).to.have.length(1);
      await until('staging is empty', async () => (await host.stagedFiles()).length === 0);
      next.kill('SIGKILL');
      await next.ended;
    });
  }
});

describe('an answer of the database that is lost', () => {
  const resources = new AsyncDisposableStack();
  let gateway: TestGateway;
  let api: Api;
  let boss: PgBoss;
  let deps: Omit<TransferDeps, 'takeTurn'>;
  let begun: Begun;
  let workers: Workers | undefined;

  before(async () => {
    gateway = await startTestGateway({ TRANSFER_CONCURRENCY: '0' });
    resources.defer(() => gateway.close());
    api = createApi(gateway.url, (await gateway.createUser()).token);
    const { log } = createLogBook();
    boss = createBoss(gateway.config.DATABASE_URL, log);
    await boss.start();
    resources.defer(() => boss.stop({ graceful: false }));
    const staging = await openStaging({ directory: gateway.config.STAGING_DIR, budgetBytes: 1e9, freeBytes: 0 });
    const storage = createCloudinaryStorage({
      ...{ cloudinaryUrl: gateway.config.STORAGE_URL, folder: 'hopla', maxSockets: 2 },
      ...{ minBytesPerSecond: 1e6, answerTimeoutMs: 5_000, idleTimeoutMs: 5_000 },
    });
    resources.defer(() => storage.close());
    const breaker = createBreaker(storage, log);
    resources.defer(() => breaker.close());
    const disk = startDiskThread({ directory: staging.directory, sniffs: false, buffers: createBufferPool() });
    resources.defer(() => disk.close());
    deps = {
      ...{ db: gateway.db, boss, records: createRecords(gateway.db), staging, storage, breaker, log },
      prepare: createSending(storage, staging, (imageId) => disk.check(imageId, SMALL_BYTES)),
      ...{ maxAttempts: 3, giveBack: async () => false },
      ...{ reportProgress: () => {}, countStored: () => {}, reach: () => undefined },
    };
  });
  after(() => resources.disposeAsync());
  beforeEach(async () => {
    begun = await beginUpload(api, await api.openTicket(1), small);
  });
  afterEach(() => workers?.close(0));

  const lost = new Error('Connection terminated unexpectedly');
  type Run = (db: Database) => Promise<unknown>;
  /** Reserves an idle worker for the image once more, and queues its job in a statement that ends as `end` says. */
  const receiveAgain = async (end: (run: Run) => Promise<unknown>) => {
    const fastPath = createFastPath();
    workers = startWorkers(deps, 1);
    await until('the worker has nothing to do', async () => workers?.room() === 1);
    fastPath.attach(workers);
    const image = (await Image.query(gateway.db).findById(begun.imageId)) ?? expect.fail('no image');
    const { id: imageId, ticketId, filename, size, sha256 } = image;
    const facts = { ...unknownFacts, size: size ?? 0, sha256: sha256 ?? '' };
    const commit = async () => {
      const { ids, settle } = fastPath.reserve([{ imageId, ticketId, filename, facts }]);
      const enqueue = enqueueTransfers(sql`(SELECT id, staging FROM images WHERE id = ${image.id}) AS images`, ids);
      const [outcome] = await Promise.allSettled([end((db) => query(db, enqueue)).then(() => [image])]);
      settle(outcome);
      return outcome.status === 'fulfilled' ? outcome.value : outcome.reason;
    };
    return { fastPath, image, commit };
  };

  it('to the receipt leaves no job in nobody’s hands', async () => {
    await begun.send();
    await gateway.db.raw('DELETE FROM pgboss.job WHERE id = ?', [begun.imageId]);
    const { fastPath, image, commit } = await receiveAgain(async (run) => {
      await run(gateway.db);
      throw lost;
    });
    expect(await commit()).to.equal(lost);
    expect(fastPath.has(image.id)).to.equal(true);
    await untilImage(api, begun, ['stored']);
    expect(fastPath.has(image.id)).to.equal(false);
  });

  it('to a receipt that was not committed harms neither the image nor its file', async () => {
    await begun.send();
    await gateway.db.raw('DELETE FROM pgboss.job WHERE id = ?', [begun.imageId]);
    const { fastPath, image, commit } = await receiveAgain((run) =>
      gateway.db.transaction(async (trx) => {
        await run(trx);
        throw lost;
      }),
    );
    expect(await commit()).to.equal(lost);
    await until('it is given up', async () => !fastPath.has(image.id));
    expect(await gateway.stagedFiles()).to.deep.equal([image.id]);
    expect((await Image.query(gateway.db).findById(image.id))?.status).to.equal('received');
    expect(gateway.cloudinary.ledger.entries({ publicId: `hopla/${image.id}` })).to.deep.equal([]);
    await deps.staging.remove(image.id);
  });

  it('that says no gives the image back at once, as nothing was committed', async () => {
    await begun.send();
    await gateway.db.raw('DELETE FROM pgboss.job WHERE id = ?', [begun.imageId]);
    let no: Error | null = new Error('new row violates check constraint');
    const { fastPath, image, commit } = await receiveAgain(async (run) => {
      if (no) throw no;
      await run(gateway.db);
    });
    expect(await commit()).to.equal(no);
    expect(fastPath.has(image.id)).to.equal(false);
    no = null;
    expect(await commit()).to.deep.equal([image]);
    expect(fastPath.has(image.id)).to.equal(true);
    await untilImage(api, begun, ['stored']);
  });

  it('to the recording of the store’s receipt leaves no file behind', async () => {
    await begun.send();
    const records = {
      ...deps.records,
      store: async (...recording: Parameters<typeof deps.records.store>) => {
        await deps.records.store(...recording);
        throw new Error('Connection terminated unexpectedly');
      },
    };
    workers = startWorkers({ ...deps, records }, 1);
    await untilImage(api, begun, ['stored']);
    // Recovery looks every minute.
    await until('its file went', async () => (await gateway.stagedFiles()).length === 0, 10_000);
  });

  it('keeps begun transfers of a worker that stops in the queue, for the next', async () => {
    const tickets = await api.openTicket(6);
    await begun.send();
    for (let n = 0; n < 6; n++) await tusUpload(small, { ...tusOptions(tickets), ...whole });
    gateway.cloudinary.faults.add({ fault: { kind: 'delay', ms: 1_500 } });
    workers = startWorkers(deps, 1);
    await untilImage(api, begun, ['transferring']);
    await workers.close(0);
    gateway.cloudinary.faults.clear();
    const { rows } = await gateway.db.raw(`SELECT count(*)::int AS held FROM pgboss.job WHERE state = 'active'`);
    expect(rows).to.deep.equal([{ held: 0 }]);
    expect(await gateway.db('images').where({ status: 'transferring' })).to.deep.equal([]);
    workers = startWorkers(deps, 4);
    await untilCompleted(api, tickets.id);
    await untilImage(api, begun, ['stored']);
  });
});
