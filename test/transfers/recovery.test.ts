import { randomUUIDv7 } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { Image } from '../../src/database/models.ts';
import { startGateway } from '../../src/gateway.ts';
import { type Api, createApi, type Json, tusOptions, until } from '../support/client.ts';
import { createTestDatabase } from '../support/database.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { prepareTemplate } from '../support/template.ts';
import {
  type Begun,
  beginUpload,
  createLogBook,
  expectStoredOnce,
  type LogBook,
  storedAssets,
  untilImage,
} from './rig.ts';

const BYTES = 50_000;

describe('recovery', () => {
  let gateway: TestGateway;
  let api: Api;
  let book: LogBook;
  let seed = 0;
  const photo = () => {
    seed += 1;
    return jpeg({ bytes: BYTES, seed });
  };
  const directory = () => join(gateway.config.DATA_DIR, 'cloudinary');
  const stage = (name: string, bytes: Buffer) => writeFile(join(gateway.config.STAGING_DIR, name), bytes);
  const hoursAgo = (hours: number) => new Date(Date.now() - hours * 3_600_000);
  const stageOld = async (name: string, bytes: Buffer, hours = 1) => {
    await stage(name, bytes);
    await utimes(join(gateway.config.STAGING_DIR, name), hoursAgo(hours), hoursAgo(hours));
  };
  const unstage = (name: string) => rm(join(gateway.config.STAGING_DIR, name));
  const begin = async (bytes: Buffer, more = {}) => beginUpload(api, await api.openTicket(1, more), bytes);
  const endedNow = (ticketId: string) =>
    gateway
      .db('tickets')
      .where({ id: ticketId })
      .update({ expires_at: new Date(Date.now() - 1000) });
  /** What the database has to say, without what a mere look may touch. */
  const everything = async () => ({
    tickets: await gateway.db('tickets').orderBy('id'),
    images: await gateway.db('images').orderBy('id'),
    assets: await storedAssets(directory()),
    files: (await readdir(gateway.config.STAGING_DIR)).sort(),
  });

  /** One of everything that a process may leave behind, with nobody running. */
  const leaveMess = async () => {
    const bytes = photo();
    const storedBefore = await begin(bytes);
    await storedBefore.send();
    await untilImage(api, storedBefore, ['stored']);
    await until('its file is gone', async () => (await gateway.stagedFiles()).length === 0);
    await gateway.restart({ TRANSFER_CONCURRENCY: '0' });

    const uncommitted = { begun: await begin(bytes), bytes };
    const halfway = await begin(bytes);
    const jobless = await begin(bytes);
    const waiting = await begin(bytes);
    const lost = await begin(bytes);
    const short = await begin(bytes);
    const changed = await begin(bytes);
    for (const begun of [jobless, waiting, lost, short, changed]) await begun.send();
    const cancelled = await begin(bytes);
    await api.call('DELETE', cancelled.uploadUrl, {
      headers: { ...tusOptions(cancelled.ticket).headers, 'Tus-Resumable': '1.0.0' },
    });
    const late = await begin(bytes);
    await gateway.stop();

    await endedNow(late.ticket.id);
    await gateway.db('pgboss.job').where({ id: jobless.imageId }).delete();
    for (const { imageId } of [uncommitted.begun, storedBefore, cancelled]) await stage(imageId, bytes);
    for (const { imageId } of [halfway, late]) await stage(imageId, bytes.subarray(0, 1000));
    await unstage(lost.imageId);
    await stage(short.imageId, bytes.subarray(0, 1000));
    await stage(changed.imageId, Buffer.from(bytes.with(-1, (bytes.at(-1) ?? 0) ^ 1)));
    const unknown = randomUUIDv7();
    await stageOld(unknown, bytes);
    await stage('notes.txt', Buffer.from('of whoever looks after this machine'));
    return {
      bytes,
      storedBefore,
      uncommitted: uncommitted.begun,
      halfway,
      jobless,
      waiting,
      lost,
      short,
      changed,
      cancelled,
      late,
      unknown,
    };
  };

  const expectTidy = async (mess: Awaited<ReturnType<typeof leaveMess>>) => {
    const { bytes, storedBefore, uncommitted, halfway, jobless, waiting, lost, short, changed } = mess;
    const { cancelled, late, unknown } = mess;
    for (const begun of [storedBefore, uncommitted, jobless, waiting]) {
      const image = await untilImage(api, begun, ['stored']);
      expect(image.attempts).to.equal(0);
      await expectStoredOnce(directory(), image, bytes);
      const sent = gateway.cloudinary.ledger.entries({ operation: 'upload', publicId: `hopla/${begun.imageId}` });
      expect(sent.filter(({ stored }) => stored)).to.have.length(1);
      expect((await api.ticket(begun.ticket.id)).status).to.equal('completed');
    }
    for (const begun of [lost, short, changed]) {
      const image = await untilImage(api, begun, ['failed']);
      expect(gateway.cloudinary.ledger.entries({ publicId: `hopla/${begun.imageId}` })).to.deep.equal([]);
      expect(image.error.code).to.equal('staged-file-lost');
      const alarms = book.lines.filter(({ msg, imageId }) => /^ALARM/.test(msg) && imageId === begun.imageId);
      expect(alarms.map(({ level }) => level)).to.deep.equal([50]);
    }
    await untilImage(api, late, ['expired']);
    expect(await api.ticket(late.ticket.id)).to.deep.include({
      status: 'expired',
      counts: { expected: 1, uploading: 0, received: 0, stored: 0, failed: 0 },
    });
    await untilImage(api, cancelled, ['cancelled']);
    expect(await untilImage(api, halfway, ['uploading'])).to.include({ offset: 1000 });
    // The rest of a file may still be wanted by an admin who looks for the cause.
    const kept = [halfway.imageId, short.imageId, changed.imageId, 'notes.txt'].sort();
    await until('staging has only what is waited for', async () => {
      const files = await gateway.stagedFiles();
      return JSON.stringify(files.sort()) === JSON.stringify(kept);
    });
    expect(await storedAssets(directory())).to.have.length(4);
    expect(await readdir(quarantine())).to.deep.equal([unknown]);
    expect((await readFile(join(quarantine(), unknown))).equals(bytes)).to.equal(true);
  };
  const quarantine = () => join(gateway.config.STAGING_DIR, '.quarantine');
  const counted = async (name: string) => {
    const lines = (await (await fetch(`${gateway.url}/metrics`)).text()).split('\n');
    return Number(lines.find((line) => line.startsWith(`${name} `))?.split(' ')[1] ?? 0);
  };

  beforeEach(async () => {
    book = createLogBook();
    gateway = await startTestGateway({}, book.log);
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  afterEach(() => gateway.close());

  it('puts right whatever a process leaves behind, and finds nothing to do when it runs again', async () => {
    const mess = await leaveMess();
    await gateway.restart({ TRANSFER_CONCURRENCY: '4' });
    await expectTidy(mess);
    expect(await counted('hopla_transfer_seconds_count{outcome="staged-file-lost"}')).to.equal(3);
    expect(await counted('hopla_quarantined_files_total')).to.equal(1);
    const before = await everything();
    await gateway.restart({ TRANSFER_CONCURRENCY: '4' });
    await expectTidy(mess);
    expect(await everything()).to.deep.equal(before);
    expect(await counted('hopla_quarantined_files_total')).to.equal(0);

    await mess.halfway.send();
    await expectStoredOnce(directory(), await untilImage(api, mess.halfway, ['stored']), mess.bytes);
  });

  it('does the same in two processes at once on one staging area', async () => {
    const mess = await leaveMess();
    const second = startGateway({ ...gateway.config, TRANSFER_CONCURRENCY: 4, PORT: 0 }, book.log);
    await gateway.restart({ TRANSFER_CONCURRENCY: '4' });
    const other = await second;
    try {
      await expectTidy(mess);
    } finally {
      await other.close();
    }
  });

  it('removes from quarantine what was there for as long as it is kept, and nothing younger', async () => {
    await gateway.stop();
    const [first, second] = [randomUUIDv7(), randomUUIDv7()];
    await stageOld(first, photo());
    await gateway.restart({ QUARANTINE_HOURS: '2' });
    await utimes(join(quarantine(), first), hoursAgo(2.1), hoursAgo(2.1));
    await gateway.stop();
    // Old as a file, and new to the quarantine.
    await stageOld(second, photo(), 9);
    await gateway.restart({ QUARANTINE_HOURS: '2' });
    expect(await readdir(quarantine())).to.deep.equal([second]);
    expect(book.lines.filter(({ msg }) => /quarantine/.test(msg)).map(({ imageId }) => imageId)).to.deep.equal([
      first,
      second,
      first,
    ]);
  });

  it('brings a file back from quarantine when its image is known after all', async () => {
    await gateway.restart({ TRANSFER_CONCURRENCY: '0' });
    const bytes = photo();
    const begun = await begin(bytes);
    await begun.send();
    await gateway.stop();
    // As after a start with an older backup of the database, which is taken back.
    await mkdir(quarantine());
    await rename(join(gateway.config.STAGING_DIR, begun.imageId), join(quarantine(), begun.imageId));
    await gateway.restart({ TRANSFER_CONCURRENCY: '1' });
    const image = await untilImage(api, begun, ['stored']);
    await expectStoredOnce(directory(), image, bytes);
    expect(image.attempts).to.equal(0);
    expect(await readdir(quarantine())).to.deep.equal([]);
    await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
  });

  it('shares the work between two processes that start and stop', async () => {
    const other = await startGateway({ ...gateway.config, PORT: 0 }, book.log);
    const photos = Array.from({ length: 40 }, photo);
    const ticket = await api.openTicket(photos.length);
    const all = await Promise.all(photos.map((bytes) => beginUpload(api, ticket, bytes)));
    gateway.cloudinary.faults.add({ match: { operation: 'upload', attempt: 1 }, fault: { kind: 'delay', ms: 100 } });
    await Promise.all(all.map((begun) => begun.send()));
    await until('some are stored', async () => (await api.ticket(ticket.id)).counts.stored > 5);
    await other.close();
    await gateway.restart();
    const completed = await until('the ticket is completed', async () => {
      const now = await api.ticket(ticket.id);
      return now.status === 'completed' && now;
    });
    for (const image of completed.images as Json[]) {
      const index = all.findIndex(({ imageId }) => imageId === image.id);
      await expectStoredOnce(directory(), image, photos[index] as Buffer);
      expect(image.attempts).to.equal(0);
    }
    await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
  });

  it('does not touch the images of another database', async () => {
    const begun = await begin(photo());
    await stage(begun.imageId, photo());
    await gateway.stop();
    const { databaseUrl, drop } = await createTestDatabase(prepareTemplate);
    const mistaken = await startGateway({ ...gateway.config, DATABASE_URL: databaseUrl }, book.log).catch(
      (error) => error,
    );
    await drop();
    expect(mistaken.message).to.match(/holds images that this database does not know \(1\)/);
    expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
    await gateway.restart();
    expect(await gateway.stagedFiles()).to.deep.equal([begun.imageId]);
  });

  describe('of tickets whose time runs out', () => {
    it('ends their uploads and frees the room, but stores what was received', async () => {
      const [received, open] = [photo(), photo()];
      const ticket = await api.openTicket(3);
      const done = await beginUpload(api, ticket, received);
      await done.send();
      const half: Begun = await beginUpload(api, ticket, open);
      await stage(half.imageId, open.subarray(0, 1000));
      await endedNow(ticket.id);
      await untilImage(api, half, ['expired']);
      await expectStoredOnce(directory(), await untilImage(api, done, ['stored']), received);
      expect(await api.ticket(ticket.id)).to.deep.include({
        status: 'expired',
        counts: { expected: 3, uploading: 0, received: 0, stored: 1, failed: 0 },
      });
      await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
      const head = await api.call('HEAD', half.uploadUrl, { headers: { 'Tus-Resumable': '1.0.0' } });
      expect(head.status).to.equal(410);
      const images = await Image.query(gateway.db).where({ ticket_id: ticket.id });
      expect(images.map(({ status }) => status).sort()).to.deep.equal(['expired', 'stored']);
    });
  });
});
