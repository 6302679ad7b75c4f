import { request } from 'node:http';
import { expect } from 'chai';
import { Image } from '../../src/database/models.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { createHost, type Hopla, type Host } from './child.ts';
import { beginUpload, expectStoredOnce, storedAssets, untilImage } from './rig.ts';

const BYTES = 1_000_000;
/** A process that comes back takes a second or two; a phone tries for longer than this. */
const retryDelays = Array.from({ length: 200 }, () => 100);

/** Where the process is killed, and what it leaves behind: the image's status, and whether its file is there. */
const deaths: [failpoint: string, status: string, staged: boolean][] = [
  ['place.claimed', 'uploading', false],
  ['upload.opened', 'uploading', true],
  ['upload.written', 'uploading', true],
  ['upload.written#3', 'uploading', true],
  ['upload.synced', 'uploading', true],
  ['upload.committed', 'received', true],
  ['upload.answered', 'received', true],
  ['transfer.fetched', 'received', true],
  ['transfer.begun', 'transferring', true],
  ['transfer.sending', 'transferring', true],
  ['transfer.sending#9', 'transferring', true],
  ['transfer.answered', 'transferring', true],
  ['transfer.recorded', 'stored', true],
  ['transfer.forgotten', 'stored', false],
];

describe('a process that ends in the middle of its work', () => {
  let host: Host;
  let api: Api;
  let seed = 0;
  const photo = (bytes = BYTES) => {
    seed += 1;
    return jpeg({ bytes, seed });
  };
  const start = async (settings: Record<string, string> = {}): Promise<Hopla> => {
    const hopla = await host.start(settings);
    api = createApi(host.url, host.token);
    return hopla;
  };
  const expectAllDone = async (image: Json, bytes: Buffer) => {
    await expectStoredOnce(host.cloudinaryDirectory, image, bytes);
    await until('staging is empty', async () => (await host.stagedFiles()).length === 0);
    const left = await host.db.raw(`SELECT count(*)::int AS jobs FROM pgboss.job WHERE state < 'completed'`);
    expect(left.rows).to.deep.equal([{ jobs: 0 }]);
  };

  beforeEach(async () => {
    host = await createHost();
  });
  afterEach(() => host.close());

  for (const [failpoint, status, staged] of deaths) {
    it(`loses nothing when it is killed at ${failpoint}`, async () => {
      // Until the upload is answered no transfer is wanted that would change what the death leaves behind.
      const quiet = failpoint.startsWith('upload.') ? { TRANSFER_CONCURRENCY: '0' } : {};
      const first = await start({ HOPLA_FAILPOINTS: `${failpoint}=kill`, ...quiet });
      const ticket = await api.openTicket(2);
      const [bytes, other] = [photo(), photo()];
      const phone = { ...tusOptions(ticket), retryDelays };
      const uploading = tusUpload(bytes, { ...phone, metadata: { slot: 'first' } });
      expect(await first.ended).to.equal('SIGKILL');
      expect((await Image.query(host.db)).map((image) => image.status)).to.deep.equal([status]);
      expect(await host.stagedFiles()).to.have.length(staged ? 1 : 0);

      await start();
      await uploading;
      const images = async () => (await api.ticket(ticket.id)).images as Json[];
      // What a dead process was sending is taken up at once, and not after the time a queue waits for a sign of life.
      const [image] = await until(
        'the image is stored',
        async () => {
          const all = await images();
          return all.every((each) => each.status === 'stored') ? all : null;
        },
        8_000,
      );
      expect(await images(), 'no second place is taken').to.have.length(1);
      expect(image.attempts, 'a death is no failure of the storage').to.equal(0);
      await expectAllDone(image, bytes);
      const uploads = host.cloudinary.ledger.entries({ operation: 'upload' });
      expect(
        uploads.filter(({ stored }) => stored),
        'one version',
      ).to.have.length(1);

      await tusUpload(other, { ...phone, metadata: { slot: 'second' } });
      await untilCompleted(api, ticket.id);
      expect(await storedAssets(host.cloudinaryDirectory)).to.have.length(2);
    });
  }

  it('loses nothing when it is killed while the storage does not answer', async () => {
    const first = await start();
    const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'not-reading' } });
    const bytes = photo(12_000_000);
    const begun = await beginUpload(api, await api.openTicket(1), bytes);
    await begun.send();
    await host.cloudinary.ledger.waitFor((all) => all.some(({ fault }) => fault !== undefined), 10_000, 'the transfer');
    first.kill('SIGKILL');
    await first.ended;
    clear();
    await start();
    const image = await untilImage(api, begun, ['stored'], 8_000);
    await expectAllDone(image, bytes);
  });

  describe('by SIGTERM', () => {
    it('hands a slow transfer back and ends well; the next process sends it', async () => {
      const first = await start();
      const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'hang' } });
      const bytes = photo();
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      await begun.send();
      await host.cloudinary.ledger.waitFor((all) => all.some(({ md5 }) => md5 !== null), 10_000, 'the transfer');
      first.kill('SIGTERM');
      expect(await first.ended).to.equal(0);
      expect((await Image.query(host.db)).map(({ status, attempts }) => [status, attempts])).to.deep.equal([
        ['received', 0],
      ]);
      const { rows } = await host.db.raw('SELECT state FROM pgboss.job');
      expect(rows).to.deep.equal([{ state: 'retry' }]);
      clear();
      await start();
      await expectAllDone(await untilImage(api, begun, ['stored'], 8_000), bytes);
    });

    it('cuts a slow upload and ends well; the client goes on where it was', async () => {
      const first = await start();
      const bytes = photo();
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      const slow = request(begun.uploadUrl, {
        method: 'PATCH',
        headers: {
          ...tusOptions(begun.ticket).headers,
          'Tus-Resumable': '1.0.0',
          'Upload-Offset': '0',
          'Content-Type': 'application/offset+octet-stream',
          'Content-Length': bytes.length,
        },
      });
      slow.on('error', () => {});
      slow.write(bytes.subarray(0, 300_000));
      await until('half of it is here', async () => (await api.ticket(begun.ticket.id)).images[0].offset === 300_000);
      first.kill('SIGTERM');
      expect(await first.ended).to.equal(0);
      await start();
      expect((await api.ticket(begun.ticket.id)).images[0].offset).to.equal(300_000);
      await begun.send();
      await expectAllDone(await untilImage(api, begun, ['stored']), bytes);
    });

    it('ends at once at the second signal, and loses nothing by it', async () => {
      const first = await start();
      const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'hang' } });
      const bytes = photo();
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      await begun.send();
      await host.cloudinary.ledger.waitFor((all) => all.some(({ md5 }) => md5 !== null), 10_000, 'the transfer');
      first.kill('SIGTERM');
      await until('it is stopping', () => first.lines.some(({ msg }) => /^stopping/.test(msg)));
      first.kill('SIGTERM');
      expect(await first.ended).to.equal(1);
      expect(first.lines.at(-1)?.msg).to.equal('stopped at once');
      expect((await Image.query(host.db)).map(({ status }) => status)).to.deep.equal(['transferring']);
      clear();
      await start();
      await expectAllDone(await untilImage(api, begun, ['stored'], 8_000), bytes);
    });
  });
});
