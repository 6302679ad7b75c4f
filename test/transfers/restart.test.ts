import { request } from 'node:http';
import { expect } from 'chai';
import { Image } from '../../src/database/models.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { createHost, type Hopla, type Host } from './child.ts';
import { beginUpload, expectStoredOnce, untilImage } from './rig.ts';

/** So many that two processes that die early leave a second piece to write: of each, three may be in the file then. */
const BYTES = 8_500_000;
/** A process that comes back takes a second or two; a phone tries for longer than this. */
const retryDelays = Array.from({ length: 200 }, () => 100);

/** Every point of an image's way, and what a process killed there leaves: the image's status, and whether its file is there. */
const deaths: [failpoint: string, status: string, staged: boolean][] = [
  ['place.claimed', 'uploading', false],
  ['upload.written', 'uploading', true],
  ['upload.written#2', 'uploading', true],
  ['upload.synced', 'uploading', true],
  ['upload.committed', 'received', true],
  ['upload.answered', 'received', true],
  ['transfer.fetched', 'received', true],
  // Noted as begun if that took a while, and always where the storage takes its time.
  ['transfer.sending', 'received or transferring', true],
  ['transfer.sending#9', 'received or transferring', true],
  ['transfer.answered', 'received or transferring', true],
  ['transfer.begun', 'transferring', true],
  ['transfer.answered', 'transferring', true],
  ['transfer.recorded', 'stored', true],
];

describe('a process that ends in the middle of its work', () => {
  let host: Host;
  let hopla: Hopla;
  let api: Api;
  let seed = 0;
  const photo = (bytes = BYTES) => {
    seed += 1;
    return jpeg({ bytes, seed });
  };
  /** Starts the next process. It answers for the last one within seconds, not after the time a queue waits for a sign of life. */
  const start = async (settings: Record<string, string> = {}) => {
    hopla = await host.start(settings);
    api = createApi(host.url, host.token);
  };
  const startToDieAt = (failpoint: string) =>
    // What is received stays so until the upload's own deaths are through.
    start({
      HOPLA_FAILPOINTS: `${failpoint}=kill`,
      TRANSFER_CONCURRENCY: failpoint.startsWith('transfer') ? '1' : '0',
    });
  const rows = async (ticket: Json) => Image.query(host.db).where({ ticket_id: ticket.id });
  const expectAllDone = async (image: Json, bytes: Buffer) => {
    await expectStoredOnce(host.cloudinaryDirectory, image, bytes);
    await until('staging is empty', async () => (await host.stagedFiles()).length === 0);
    const left = await host.db.raw(`SELECT count(*)::int AS jobs FROM pgboss.job WHERE state < 'completed'`);
    expect(left.rows).to.deep.equal([{ jobs: 0 }]);
    // Without a fault every death is survived with the version that the storage got first.
    const uploads = host.cloudinary.ledger.entries({ operation: 'upload', publicId: `hopla/${image.id}` });
    expect(uploads.filter(({ stored }) => stored)).to.have.length(1);
  };

  before(async () => {
    host = await createHost();
  });
  after(() => host.close());

  describe('by kill -9, again and again, each time one step later', () => {
    const bytes = photo();
    let ticket: Json;
    let phone: Promise<unknown>;
    before(async () => {
      await startToDieAt(deaths[0]?.[0] ?? '');
      ticket = await api.openTicket(1);
      phone = tusUpload(bytes, { ...tusOptions(ticket), retryDelays, metadata: { slot: 'first' } });
    });

    for (const [index, [failpoint, status, staged]] of deaths.entries()) {
      it(`at ${failpoint}: the image is ${status}, its file ${staged ? 'kept' : 'not there'}`, async () => {
        const fault = { kind: 'delay', ms: status === 'transferring' ? 600 : 0 } as const;
        const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, fault });
        if (index > 0) await startToDieAt(failpoint);
        const since = performance.now();
        expect(await hopla.ended).to.equal('SIGKILL');
        clear();
        expect(performance.now() - since).to.be.lessThan(8_000);
        const [image, ...more] = await rows(ticket);
        expect(more).to.deep.equal([]);
        expect(image?.status).to.be.oneOf(status.split(' or '));
        expect(await host.stagedFiles()).to.have.length(staged ? 1 : 0);
      });
    }

    it('and in the end the image is stored once, without the client taking a second place', async () => {
      await start();
      await phone;
      const { images } = await untilCompleted(api, ticket.id);
      expect(images).to.have.length(1);
      expect(images[0].attempts, 'a death is no failure of the storage').to.equal(0);
      await expectAllDone(images[0], bytes);
    });
  });

  describe('by kill -9 while it receives an image that came whole with its creation', () => {
    for (const [failpoint, left] of [
      ['upload.synced', []],
      ['upload.committed', ['received']],
      ['upload.answered', ['received']],
    ] as const) {
      it(`at ${failpoint}: the image is ${left[0] ?? 'not known'}, and in the end stored once`, async () => {
        hopla.kill('SIGKILL');
        await hopla.ended;
        await startToDieAt(failpoint);
        const bytes = photo(200_000);
        const ticket = await api.openTicket(1);
        const options = { uploadDataDuringCreation: true, metadata: { slot: 'only' }, retryDelays };
        const phone = tusUpload(bytes, { ...tusOptions(ticket), ...options });
        expect(await hopla.ended).to.equal('SIGKILL');
        expect((await rows(ticket)).map(({ status }) => status)).to.deep.equal(left);
        expect(await host.stagedFiles()).to.have.length(1);
        await start();
        await phone;
        const { images } = await untilCompleted(api, ticket.id);
        expect(images).to.have.length(1);
        await expectAllDone(images[0], bytes);
      });
    }
  });

  describe('by kill -9 at the very end', () => {
    it('leaves nothing to do once the file went', async () => {
      hopla.kill('SIGKILL');
      await hopla.ended;
      await start({ HOPLA_FAILPOINTS: 'transfer.forgotten=kill' });
      const bytes = photo();
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      await begun.send();
      expect(await hopla.ended).to.equal('SIGKILL');
      expect(await host.stagedFiles()).to.deep.equal([]);
      await start();
      await expectAllDone(await untilImage(api, begun, ['stored']), bytes);
    });
  });

  describe('by kill -9 while it puts right what the one before left', () => {
    it('leaves that to the next, which stores the image once, though its client never comes back', async () => {
      hopla.kill('SIGKILL');
      await hopla.ended;
      const bytes = photo();
      await startToDieAt('upload.synced');
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      const headers = {
        ...{ Authorization: `Bearer ${begun.ticket.uploadToken}`, 'Tus-Resumable': '1.0.0', 'Upload-Offset': '0' },
        'Content-Type': 'application/offset+octet-stream',
      };
      await api.call('PATCH', begun.uploadUrl, { headers, body: bytes }).catch(() => {});
      expect(await hopla.ended, 'at the request').to.equal('SIGKILL');
      for (const [failpoint, status] of [
        ['upload.synced', 'uploading'],
        ['upload.committed', 'received'],
      ] as const) {
        await startToDieAt(failpoint);
        expect(await hopla.ended, 'at its start').to.equal('SIGKILL');
        expect((await rows(begun.ticket)).map((image) => image.status)).to.deep.equal([status]);
      }
      await start();
      await expectAllDone(await untilImage(api, begun, ['stored']), bytes);
    });
  });

  describe('by SIGTERM', () => {
    const beginSlowTransfer = async () => {
      const clear = host.cloudinary.faults.add({ match: { operation: 'upload' }, times: 1, fault: { kind: 'hang' } });
      const bytes = photo();
      const begun = await beginUpload(api, await api.openTicket(1), bytes);
      await begun.send();
      const arrived = ({ publicId, md5 }: { publicId: string | null; md5: string | null }) =>
        publicId === `hopla/${begun.imageId}` && md5 !== null;
      await host.cloudinary.ledger.waitFor((all) => all.some(arrived), 10_000, 'the transfer');
      clear();
      return { bytes, begun };
    };

    it('hands a slow transfer back and ends well; the next process sends it', async () => {
      const { bytes, begun } = await beginSlowTransfer();
      hopla.kill('SIGTERM');
      expect(await hopla.ended).to.equal(0);
      expect((await rows(begun.ticket)).map(({ status, attempts }) => [status, attempts])).to.deep.equal([
        ['received', 0],
      ]);
      const { rows: jobs } = await host.db.raw('SELECT state FROM pgboss.job WHERE id = ?', [begun.imageId]);
      expect(jobs).to.deep.equal([{ state: 'retry' }]);
      await start();
      await expectAllDone(await untilImage(api, begun, ['stored'], 8_000), bytes);
    });

    it('cuts a slow upload and ends well; the client goes on where it was', async () => {
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
      await until('some of it is here', async () => (await api.ticket(begun.ticket.id)).images[0].offset === 300_000);
      hopla.kill('SIGTERM');
      expect(await hopla.ended).to.equal(0);
      await start();
      expect((await api.ticket(begun.ticket.id)).images[0].offset).to.equal(300_000);
      await begun.send();
      await expectAllDone(await untilImage(api, begun, ['stored']), bytes);
    });

    it('ends at once at the second signal, and loses nothing by it', async () => {
      const { bytes, begun } = await beginSlowTransfer();
      hopla.kill('SIGTERM');
      await until('it is stopping', () => hopla.lines.some(({ msg }) => /^stopping/.test(msg)));
      hopla.kill('SIGTERM');
      expect(await hopla.ended).to.equal(1);
      expect(hopla.lines.at(-1)?.msg).to.equal('stopped at once');
      expect((await rows(begun.ticket)).map(({ status }) => status)).to.deep.equal(['transferring']);
      await start();
      await expectAllDone(await untilImage(api, begun, ['stored'], 8_000), bytes);
    });
  });
});
