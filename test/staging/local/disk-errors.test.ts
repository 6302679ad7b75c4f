import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { type Api, createApi, until, untilCompleted } from '../../support/client.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createLogBook } from '../../transfers/rig.ts';
import { watchLeaks } from '../../uploads/leaks.ts';
import { createEndpoint, expectProblem } from '../../uploads/raw.ts';

describe('a staging disk that fails', () => {
  const photo = jpeg({ bytes: 600_000, seed: 41 });
  const book = createLogBook();
  let gateway: TestGateway;
  let api: Api;
  let leaks: ReturnType<typeof watchLeaks>;
  before(async function () {
    leaks = watchLeaks();
    const probe = await injectErrors('fdatasync:error=EIO');
    if (probe === null) return this.skip();
    await probe.end();
    gateway = await startTestGateway({}, book.log);
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  after(() => gateway?.close());

  const open = async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    return { ticket, endpoint, url: await endpoint.begin({ size: photo.length }) };
  };
  const withErrors = async <T>(what: string, run: () => Promise<T>): Promise<T> => {
    const errors = await injectErrors(what);
    try {
      return await run();
    } finally {
      await errors?.end();
    }
  };
  /** The images that the log says start over. */
  const alarms = () =>
    book.lines
      .filter(
        ({ level, msg }) => level === 50 && msg === 'staged file could not be made durable; the upload starts over',
      )
      .map(({ imageId }) => imageId);
  const expectStored = async (ticketId: string, bytes = photo) => {
    const { images } = await untilCompleted(api, ticketId);
    const stored = Buffer.from(await (await fetch(images[0].url)).arrayBuffer());
    expect(stored.equals(bytes)).to.equal(true);
  };

  it('while bytes are written makes the client wait, and keeps what was written before', async () => {
    const { ticket, endpoint, url } = await open();
    await endpoint.patch(url, 0, photo.subarray(0, 100_000));
    await withErrors('pwritev,pwrite64:error=EIO', async () => {
      expectProblem(await endpoint.patch(url, 100_000, photo.subarray(100_000)), 423, 'upload-unavailable');
      expect((await endpoint.head(url)).headers['upload-offset']).to.equal('100000');
    });
    expect((await endpoint.patch(url, 100_000, photo.subarray(100_000))).status).to.equal(204);
    await expectStored(ticket.id);
  });

  it('while bytes are written tells a creation where to come back to', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const { status, headers } = await withErrors('pwritev,pwrite64:error=EIO', () =>
      endpoint.create({ size: photo.length, body: photo }),
    );
    expect([status, headers['upload-offset']]).to.deep.equal([201, '0']);
    expect((await endpoint.patch(String(headers.location), 0, photo)).status).to.equal(204);
    await expectStored(ticket.id);
  });

  for (const [what, errors] of [
    ['of the file', 'fdatasync:error=EIO'],
    ['of its directory entry', 'fsync:error=EIO'],
    ['of the file, which cannot be removed either', 'fdatasync,unlink:error=EIO'],
  ] as const) {
    it(`at the fsync ${what} makes the upload start over: what is on the disk is unknown`, async () => {
      const { ticket, endpoint, url } = await open();
      book.lines.length = 0;
      await withErrors(errors, async () => {
        expectProblem(await endpoint.patch(url, 0, photo), 423, 'upload-uncommitted');
      });
      expect(alarms()).to.deep.equal([url.split('/').at(-1)]);
      const { status, headers } = await endpoint.head(url);
      expect([status, headers['upload-offset']]).to.deep.equal([200, '0']);
      expect((await api.ticket(ticket.id)).counts).to.include({ uploading: 1, received: 0 });
      expect((await endpoint.patch(url, 0, photo)).status).to.equal(204);
      await expectStored(ticket.id);
    });
  }

  for (const bytes of [600_000, 2_500_000]) {
    it(`at the fsync of ${bytes} bytes that came whole tells their creation to start over`, async () => {
      const whole = jpeg({ bytes, seed: 42 });
      const ticket = await api.openTicket(1);
      const endpoint = createEndpoint(ticket);
      book.lines.length = 0;
      const { status, headers } = await withErrors('fdatasync:error=EIO', () =>
        endpoint.create({ size: bytes, body: whole }),
      );
      expect([status, headers['upload-offset']]).to.deep.equal([201, '0']);
      expect(alarms()).to.deep.equal([String(headers.location).split('/').at(-1)]);
      expect((await endpoint.patch(String(headers.location), 0, whole)).status).to.equal(204);
      await expectStored(ticket.id, whole);
    });
  }

  it('answers 423 to HEAD when a staged file can not even be looked at', async () => {
    const { endpoint, url } = await open();
    await endpoint.patch(url, 0, photo.subarray(0, 1_000));
    await withErrors('statx:error=EIO', async () => {
      expect((await endpoint.head(url)).status).to.equal(423);
    });
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('1000');
    await endpoint.remove(url);
  });

  it('leaves nothing open', async () => {
    await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
    await leaks.check(gateway);
  });
});

/**
 * Makes system calls of this process fail, as strace describes it (`fsync:error=EIO`); null where that is not possible.
 * Of these calls only the gateway makes any here: sockets are written to by others.
 */
async function injectErrors(what: string): Promise<{ end(): Promise<void> } | null> {
  const [calls = ''] = what.split(':');
  const strace = spawn('strace', ['-f', '-p', `${process.pid}`, '-e', `trace=${calls}`, '-e', `inject=${what}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const ended = once(strace, 'close').catch(() => []);
  const lines = createInterface({ input: strace.stderr });
  const attached = new Promise<boolean>((resolve) => {
    lines.on('line', (line) => {
      if (/^strace: Process \d+ attached/.test(line)) resolve(true);
    });
    // ENOENT: no strace here. An end before it attached: no permission.
    strace.once('error', () => resolve(false));
    void ended.then(() => resolve(false));
  });
  if (!(await attached)) return null;
  return {
    async end() {
      strace.kill('SIGINT');
      await ended;
      lines.close();
    },
  };
}
