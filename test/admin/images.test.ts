import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { type Admin, createAdmin } from './admin.ts';
import { listen } from './desk.ts';

describe('hopla admin images', () => {
  const { gateway } = useGateway({ TRANSFER_ATTEMPTS: '1' });
  let admin: Admin;
  let api: Api;
  before(async () => {
    admin = createAdmin(gateway.config);
    api = createApi(gateway.url, (await gateway.createUser('owner')).token);
  });
  afterEach(() => gateway.cloudinary.faults.clear());

  const pathOf = (id: string) => join(gateway.config.STAGING_DIR, id);

  /** A ticket whose images the storage got wrong until they were given up. */
  async function failed(images: number): Promise<{ id: string; imageIds: string[] }> {
    const heal = gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'wrong-etag' } });
    const ticket = await api.openTicket(images);
    for (let seed = 1; seed <= images; seed++) await tusUpload(jpeg({ bytes: 50_000, seed }), tusOptions(ticket));
    const shown = await until('every transfer failed', async () => {
      const now = await api.ticket(ticket.id);
      return now.counts.failed === images ? now : null;
    });
    heal();
    return { id: ticket.id, imageIds: shown.images.map((image: Json) => image.id) };
  }

  describe('retry', () => {
    it('sends a failed image again, counts its tries from zero, and tells whoever watches', async () => {
      const { id, imageIds } = await failed(1);
      const [imageId = ''] = imageIds;
      const ear = await listen(gateway.config.DATABASE_URL);
      try {
        const before = await gateway.db('tickets').where({ id }).first();
        const { code, json } = await admin(['images', 'retry', imageId, '--json']);
        expect(code).to.equal(0);
        expect(json).to.deep.equal({ retried: [{ id: imageId, ticketId: id, status: 'received' }], refused: [] });
        const told = await until('the retry is announced', () =>
          ear.heard.find(({ image }) => image?.id === imageId && image.status === 'received'),
        );
        expect(told.ticket).to.include({ version: before.version + 1, failed: 0 });
        expect(told.image).to.include({ attempts: 0, error_code: null, error_message: null });
      } finally {
        await ear.close();
      }
      const completed = await untilCompleted(api, id);
      expect(completed.images[0]).to.deep.include({ status: 'stored', error: null });
      expect(await gateway.stagedFiles()).not.to.include(imageId);
    });

    it('sends nothing but failed images', async () => {
      const { id, imageIds } = await failed(1);
      await admin(['images', 'retry', '--ticket', id]);
      await untilCompleted(api, id);
      const again = await admin(['images', 'retry', imageIds[0] ?? '']);
      expect(again.code).to.equal(1);
      expect(again.stderr).to.equal(
        `error: invalid-request: Image ${imageIds[0]} is stored; only a failed one can be retried.\n`,
      );
    });

    it('refuses an image whose staged file is gone or short, and leaves it failed', async () => {
      const { id, imageIds } = await failed(3);
      const [gone = '', short = '', whole = ''] = imageIds;
      await rm(pathOf(gone));
      await truncate(pathOf(short), 1_000);
      const one = await admin(['images', 'retry', gone]);
      expect(one.code).to.equal(1);
      expect(one.stderr).to.equal(
        `error: staged-file-lost: The staged file of image ${gone} is gone; it has to be uploaded again.\n`,
      );

      const all = await admin(['images', 'retry', '--ticket', id, '--json']);
      expect(all.code).to.equal(1);
      expect(all.json.retried.map((image: Json) => image.id)).to.deep.equal([whole]);
      expect(all.json.refused.map((image: Json) => [image.id, image.code])).to.deep.equal([
        [gone, 'staged-file-lost'],
        [short, 'staged-file-lost'],
      ]);
      expect(all.json.refused[1].message).to.include('has 1000 bytes instead of 50000');
      await until('the whole one is stored', async () => (await api.ticket(id)).counts.stored === 1);
      expect((await api.ticket(id)).counts.failed).to.equal(2);
      await admin(['tickets', 'delete', id, '--yes']);
    });

    it('refuses an image whose file is in another staging area', async () => {
      const { id, imageIds } = await failed(1);
      const elsewhere = createAdmin({ ...gateway.config, STAGING_DIR: join(gateway.config.DATA_DIR, 'other') });
      const { code, stderr } = await elsewhere(['images', 'retry', imageIds[0] ?? '']);
      expect(code).to.equal(1);
      expect(stderr).to.match(
        /^error: invalid-request: The file of image .+ is in staging area [0-9a-f-]{36}; run this/,
      );
      expect((await api.ticket(id)).counts.failed).to.equal(1);
      await admin(['images', 'retry', '--ticket', id]);
      await untilCompleted(api, id);
    });

    it('sends every failed image of every ticket again', async () => {
      const [one, two] = [await failed(2), await failed(1)];
      const { stdout } = await admin(['images', 'retry', '--all']);
      expect(stdout).to.equal('3 of 3 failed images are on their way again\n');
      for (const { id } of [one, two]) await untilCompleted(api, id);
      expect((await admin(['images', 'retry', '--all'])).stdout).to.match(/^0 of 0 /);
    });

    it('makes one job of an image that is retried twice at once', async () => {
      const { id, imageIds } = await failed(1);
      const [imageId = ''] = imageIds;
      const before = await gateway.db('images').where({ id: imageId }).first();
      expect(before.status).to.equal('failed');
      const ended = await Promise.all([admin(['images', 'retry', imageId]), admin(['images', 'retry', imageId])]);
      expect(ended.map(({ code }) => code).sort()).to.deep.equal([0, 1]);
      await untilCompleted(api, id);
    });

    it('wants to hear which, and knows no others', async () => {
      const usage = [[], ['x', '--all'], ['--ticket', 'x', '--all']];
      for (const args of usage) expect((await admin(['images', 'retry', ...args])).code).to.equal(2);
      const unknown = await admin(['images', 'retry', '0197f0c6-0000-7000-8000-000000000000']);
      expect(unknown.code).to.equal(1);
      expect(unknown.stderr).to.match(/^error: upload-not-found: There is no image 0197f0c6/);
      expect((await admin(['images', 'retry', '--ticket', 'x'])).stderr).to.match(/^error: ticket-not-found: /);
    });
  });

  describe('list', () => {
    it('lists the images of a ticket in the order they were begun, ended ones included, page by page', async () => {
      const ticket = await api.openTicket(2);
      const begin = async () => {
        const post = { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' };
        const { headers } = await api.call('POST', `/v1/tickets/${ticket.id}/uploads`, { headers: post });
        return headers.get('Location') ?? '';
      };
      const [first, second] = [await begin(), await begin()];
      await api.call('DELETE', first, { headers: { 'Tus-Resumable': '1.0.0' } });
      const third = await begin();
      const idOf = (location: string) => location.split('/').at(-1) ?? '';
      await writeFile(pathOf(idOf(third)), Buffer.alloc(400));

      const list = (...args: string[]) => admin(['images', 'list', '--ticket', ticket.id, '--json', ...args]);
      const page = (await list('--limit', '2')).json;
      expect(page.items.map(({ id, status }: Json) => [id, status])).to.deep.equal([
        [idOf(first), 'cancelled'],
        [idOf(second), 'uploading'],
      ]);
      const rest = (await list('--limit', '2', '--cursor', page.nextCursor)).json;
      expect(rest.nextCursor).to.equal(null);
      expect(rest.items).to.have.lengthOf(1);
      expect(rest.items[0]).to.include({ id: idOf(third), ticketId: ticket.id, offset: 400, size: 1000 });
      const { stdout } = await admin(['images', 'list', '--ticket', ticket.id]);
      expect(stdout.split('\n')[0]).to.match(
        /^ID +STATUS +SIZE +TRIES +SLOT +CREATED \(UTC\) +FILE NAME +URL OR ERROR$/,
      );
    });

    it('says that there is no such ticket', async () => {
      const { code, stderr } = await admin(['images', 'list', '--ticket', 'nonsense']);
      expect(code).to.equal(1);
      expect(stderr).to.match(/^error: ticket-not-found: There is no ticket nonsense/);
    });
  });
});
