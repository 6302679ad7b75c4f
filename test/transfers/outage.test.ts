import { expect } from 'chai';
import { type SandboxCloudinary, startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createLogBook, expectStoredOnce, type LogBook, storedAssets } from './rig.ts';

const IMAGES = 30;
const BYTES = 100_000;
/** Room for ten more. */
const BUDGET = (IMAGES + 10) * BYTES;

describe('while the storage is away', () => {
  let gateway: TestGateway;
  let api: Api;
  let book: LogBook;
  let ticket: Json;
  let returned: SandboxCloudinary | undefined;
  const photos = Array.from({ length: IMAGES }, (_, seed) => jpeg({ bytes: BYTES, seed }));
  const directory = () => `${gateway.config.DATA_DIR}/cloudinary`;
  const create = (bytes: number) =>
    api.call('POST', ticket.uploadUrl, { headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': `${bytes}` } });

  before(async () => {
    book = createLogBook();
    const shares = { MAX_BYTES_IN_FLIGHT: `${BUDGET}`, MAX_TICKET_BYTES_IN_FLIGHT: `${BUDGET}` };
    const settings = {
      STAGING_BUDGET_BYTES: `${BUDGET}`,
      MAX_IMAGE_BYTES: `${BYTES}`,
      TRANSFER_ATTEMPTS: '2',
      ...shares,
    };
    gateway = await startTestGateway(settings, book.log);
    api = createApi(gateway.url, (await gateway.createUser()).token);
    ticket = await api.openTicket(IMAGES + 11);
    await gateway.cloudinary.close();
  });
  after(async () => {
    await gateway.close();
    await returned?.close();
  });

  it('images are received all the same, and none is failed', async () => {
    for (let start = 0; start < IMAGES; start += 5) {
      const some = photos.slice(start, start + 5).map((photo, index) => {
        const slot = `photo ${start + index}`;
        return tusUpload(photo, { ...tusOptions(ticket), metadata: { slot } });
      });
      await Promise.all(some);
    }
    await until('transfers wait', () => book.lines.some(({ msg }) => /the storage is away/.test(msg)));
    const { images, counts } = await api.ticket(ticket.id);
    expect(counts).to.include({ received: IMAGES, stored: 0, failed: 0 });
    expect(images.map(({ attempts }: Json) => attempts)).to.deep.equal(photos.map(() => 0));
    expect((await gateway.stagedFiles()).length).to.equal(IMAGES);
  });

  it('GET /readyz says so', async () => {
    const { status, body } = await api.call('GET', '/readyz');
    expect(status).to.equal(503);
    expect(body.checks).to.deep.equal({ database: 'ok', staging: 'ok', storage: 'failed', queue: 'ok' });
  });

  it('new images are refused with 507 as soon as staging is full, before they take a place', async () => {
    for (let more = 0; more < 10; more += 1) expect((await create(BYTES)).status).to.equal(201);
    const { status, body, headers } = await create(BYTES);
    expect(status).to.equal(507);
    expect(body.code).to.equal('staging-full');
    expect(Number(headers.get('Retry-After'))).to.be.greaterThan(0);
    expect((await api.ticket(ticket.id)).counts.uploading).to.equal(10);
  });

  it('everything is stored soon after it is back, without anybody doing anything', async () => {
    returned = await startSandboxCloudinary({
      directory: directory(),
      port: Number(new URL(gateway.cloudinary.url).port),
      ledgerFile: false,
    });
    // At most 8 s until the next check, and no time to speak of to send them.
    const allStored = async () => (await api.ticket(ticket.id)).counts.stored === IMAGES;
    await until('all images are stored', allStored, 12_000);
    for (const image of (await api.ticket(ticket.id)).images.filter(({ status }: Json) => status === 'stored')) {
      expect(image.attempts).to.equal(0);
      await expectStoredOnce(directory(), image, photos[Number(image.slot.split(' ')[1])] as Buffer);
    }
    expect(await storedAssets(directory())).to.have.length(IMAGES);
    const said = (what: RegExp) => book.lines.filter(({ msg }) => what.test(msg)).length;
    expect([said(/the storage is away/), said(/the storage answers/)], 'one outage, said once').to.deep.equal([1, 1]);
  });

  it('its staging room is free again', async () => {
    await until('staged files go', async () => (await gateway.stagedFiles()).length === 0);
    // The ten that were created wait for their bytes; thirty others fit again, and no more.
    ticket = await api.openTicket(IMAGES + 1);
    const statuses = await Promise.all(photos.map(async () => (await create(BYTES)).status));
    expect(statuses).to.deep.equal(photos.map(() => 201));
    expect((await create(BYTES)).status).to.equal(507);
  });
});
