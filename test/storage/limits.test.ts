import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { Fault } from '../../packages/sandbox/cloudinary/faults.ts';
import type { HoplaError } from '../../src/model/errors.ts';
import { createCloudinaryStorage } from '../../src/storage/cloudinary/store.ts';
import { hireAdmin } from '../panel/clerk.ts';
import { createApi, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { type Settings, startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createLogBook, type LogBook } from '../transfers/rig.ts';
import { createEndpoint, expectProblem } from '../uploads/raw.ts';
import { answer, startScriptedServer } from './scripted-server.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const FREE_PLAN: Fault = { kind: 'media-limits', image_max_size_bytes: 10_485_760, image_max_px: 25_000_000 };
const noAbort = new AbortController().signal;

describe('the limits of the storage', () => {
  let gateway: TestGateway;
  let book: LogBook;
  before(async () => {
    book = createLogBook();
    gateway = await startTestGateway({}, book.log);
  });
  after(() => gateway.close());
  beforeEach(() => {
    gateway.cloudinary.faults.clear();
    book.lines.length = 0;
  });

  const restart = async (fault: Fault, settings: Settings = {}) => {
    gateway.cloudinary.faults.add({ fault });
    await gateway.restart(settings);
  };
  const said = (what: RegExp) => book.lines.filter(({ msg }) => what.test(msg));
  const open = async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const ticket = await api.openTicket(2);
    return { api, ticket, endpoint: createEndpoint(ticket) };
  };
  const maxSize = async () => {
    const { ticket } = await open();
    const { headers } = await fetch(ticket.uploadUrl, { method: 'OPTIONS', headers: tusOptions(ticket).headers ?? {} });
    return headers.get('Tus-Max-Size');
  };
  const config = async (settings: Settings, args: string[] = []) =>
    promisify(execFile)(process.execPath, [main, 'config', ...args], {
      cwd: gateway.config.DATA_DIR,
      env: { PATH: process.env.PATH ?? '', CLOUDINARY_URL: gateway.cloudinary.cloudinaryUrl, ...settings },
    });

  it('lower those that nobody set: for creations, the page and tus, and the log says so', async () => {
    await restart(FREE_PLAN);
    const { endpoint } = await open();
    expectProblem(await endpoint.create({ size: 10_485_761 }), 413, 'image-too-large');
    expect((await endpoint.create({ size: 10_485_760 })).status).to.equal(201);
    expect(await maxSize()).to.equal('10485760');
    expect(await (await fetch(`${gateway.url}/`)).text()).to.contain('"10485760"');
    const notes = said(/^the storage takes images of at most/);
    expect(notes.map(({ level, msg }) => [level, /MAX_IMAGE_\w+/.exec(msg)?.[0]])).to.deep.equal([
      [30, 'MAX_IMAGE_BYTES'],
      [30, 'MAX_IMAGE_PIXELS'],
    ]);
  });

  it('refuse more pixels before the image is acknowledged', async () => {
    await restart({ kind: 'media-limits', image_max_px: 5_000 });
    const { endpoint } = await open();
    const photo = jpeg({ width: 100, height: 60, bytes: 20_000 });
    expectProblem(await endpoint.create({ size: photo.length, body: photo }), 422, 'image-too-many-pixels');
  });

  it('leave those that somebody set, and warn: in the log and in the panel', async () => {
    await restart(FREE_PLAN, { MAX_IMAGE_BYTES: '20000000', MAX_IMAGE_PIXELS: '25000000' });
    const warnings = said(/MAX_IMAGE_BYTES=20000000 lets larger ones in/);
    expect(warnings.map(({ level }) => level)).to.deep.equal([40]);
    expect(said(/MAX_IMAGE_PIXELS/)).to.deep.equal([]);
    expect(await maxSize()).to.equal('20000000');
    const { text } = await (await hireAdmin(gateway, 'root')).get('/admin');
    expect(text).to.contain('MAX_IMAGE_BYTES=20000000').and.contain('class="verdict bad"');
  });

  it('are told by `hopla config`, whose JSON stays JSON', async () => {
    gateway.cloudinary.faults.add({ fault: FREE_PLAN });
    const set = await config({ MAX_IMAGE_BYTES: '20000000' }, ['--json']);
    expect(JSON.parse(set.stdout)).to.include({ MAX_IMAGE_BYTES: '20000000' });
    expect(set.stderr).to.match(/^warning: the storage takes images of at most 10485760 bytes/m);
    const unset = await config({});
    expect(unset.stderr).to.match(/^note: .*10485760 bytes: MAX_IMAGE_BYTES, which is not set/m);
    gateway.cloudinary.faults.clear();
    expect((await config({ MAX_IMAGE_BYTES: '20000000' })).stderr).to.equal('');
  });

  for (const fault of [
    { kind: 'status', status: 403 },
    { kind: 'status', status: 500, html: true },
    { kind: 'hang' },
  ] as const) {
    it(`change nothing while they cannot be had: ${JSON.stringify(fault)}`, async () => {
      gateway.cloudinary.faults.add({ match: { operation: 'usage' }, fault });
      await gateway.restart();
      expect(await maxSize()).to.equal('52428800');
      if (fault.kind !== 'hang') await until('the log says so', () => said(/does not tell its limits/).length === 1);
      const { api, ticket } = await open();
      for (const seed of [1, 2]) await tusUpload(jpeg({ bytes: 20_000, seed }), tusOptions(ticket));
      await untilCompleted(api, ticket.id);
    });
  }

  it('are read from an answer with or without them, and from no other', async () => {
    let body: unknown;
    const server = await startScriptedServer((exchange) => answer(exchange, 200, body));
    const patience = { minBytesPerSecond: 1e6, answerTimeoutMs: 2_000, idleTimeoutMs: 2_000 };
    const storage = createCloudinaryStorage({ ...server, folder: '', maxSockets: 1, ...patience });
    try {
      const limitsIn = (answered: unknown) => {
        body = answered;
        return storage.limits(noAbort).catch((error: HoplaError) => error.code);
      };
      const nothing = { bytes: null, pixels: null };
      expect(await limitsIn({ media_limits: { image_max_size_bytes: 7 } })).to.deep.equal({ bytes: 7, pixels: null });
      for (const odd of [1e300, -1, 0, '10', null])
        expect(await limitsIn({ media_limits: { image_max_size_bytes: odd, image_max_px: odd } })).to.deep.equal(
          nothing,
        );
      for (const other of ['<html>welcome</html>', {}, { media_limits: 5 }])
        expect(await limitsIn(other)).to.equal('storage-unavailable');
    } finally {
      storage.close();
      await server.close();
    }
  });
});
