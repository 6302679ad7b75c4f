import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Api, createApi, tusOptions, tusUpload, until, untilCompleted } from '../../support/client.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { openUnder } from '../../uploads/leaks.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest } from '../../uploads/raw.ts';

const DISK_BYTES = 4 * 1024 * 1024;

describe('a staging disk that is full', () => {
  const photo = jpeg({ bytes: 2_500_000, seed: 31 });
  let disk: string | null = null;
  let gateway: TestGateway;
  let api: Api;
  before(async function () {
    disk = mountDisk();
    if (disk === null) return this.skip();
    gateway = await startTestGateway({ STAGING_DIR: disk, STAGING_FREE_BYTES: '0' });
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  after(async () => {
    if (disk === null) return;
    await gateway?.close();
    execFileSync('umount', [disk]);
    rmdirSync(disk);
  });
  const filler = () => join(gateway.config.STAGING_DIR, '.somebody-else');
  /** Somebody else takes what the disk has, but for so many bytes. */
  const fill = (leaves: number) => writeFile(filler(), Buffer.alloc(DISK_BYTES - leaves));
  const free = () => rm(filler(), { force: true });

  it('refuses a creation that it has no room for', async () => {
    const endpoint = createEndpoint(await api.openTicket(3));
    const first = await endpoint.begin({ size: 2_500_000 });
    expectProblem(await endpoint.create({ size: 2_500_000 }), 507, 'staging-full');
    await endpoint.remove(first);
    await fill(1_000_000);
    expectProblem(await endpoint.create({ size: 1_500_000 }), 507, 'staging-full');
    await endpoint.remove(await endpoint.begin({ size: 500_000 }));
    await free();
    await endpoint.remove(await endpoint.begin({ size: 2_500_000 }));
  });

  it('makes an admitted upload wait, and keeps what came', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const url = await endpoint.begin({ size: photo.length });
    await fill(1_000_000);
    const answer = await endpoint.patch(url, 0, photo);
    expectProblem(answer, 423, 'upload-unavailable');
    expect(answer.headers['retry-after']).to.equal('1');
    const { status, headers } = await endpoint.head(url);
    const offset = Number(headers['upload-offset']);
    expect(status).to.equal(200);
    expect(offset).to.be.within(500_000, 1_000_000);
    expect((await endpoint.patch(url, offset, photo.subarray(offset))).status, 'still full').to.equal(423);
    await free();
    const { headers: now } = await endpoint.head(url);
    const reached = Number(now['upload-offset']);
    expect((await endpoint.patch(url, reached, photo.subarray(reached))).status).to.equal(204);
    await expectStored(ticket.id);
  });

  it('tells a creation with bytes where its upload is and how far it came', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const post = openRequest('POST', endpoint.uploadUrl, {
      token: endpoint.token,
      headers: {
        'Content-Type': OFFSET_STREAM,
        'Content-Length': `${photo.length}`,
        'Upload-Length': `${photo.length}`,
      },
    });
    const answer = answerTo(post);
    post.write(photo.subarray(0, 500_000));
    await until('the first bytes are here', async () => (await api.ticket(ticket.id)).images[0]?.offset === 500_000);
    await fill(1_000_000);
    post.end(photo.subarray(500_000));
    const { status, headers } = await answer;
    const told = Number(headers['upload-offset']);
    expect(status).to.equal(201);
    expect(told).to.be.within(500_000, 1_000_000);
    await free();
    const url = String(headers.location);
    const reached = Number((await endpoint.head(url)).headers['upload-offset']);
    expect(reached, 'a part of the last piece may have been written').to.be.within(told, 1_000_000);
    expect((await endpoint.patch(url, reached, photo.subarray(reached))).status).to.equal(204);
    await expectStored(ticket.id);
  });

  it('is waited for by tus-js-client', async () => {
    const ticket = await api.openTicket(1);
    let waits = 0;
    await tusUpload(photo, {
      ...tusOptions(ticket),
      chunkSize: 300_000,
      retryDelays: Array(100).fill(50),
      onChunkComplete: async (_size, accepted) => {
        if (accepted === 300_000) await fill(700_000);
      },
      onShouldRetry: (error) => {
        expect((error as { originalResponse?: { getStatus(): number } }).originalResponse?.getStatus()).to.be.oneOf([
          409, 423,
        ]);
        waits += 1;
        if (waits === 3) void free();
        return true;
      },
    });
    await free();
    await expectStored(ticket.id);
  });

  it('leaves nothing open', async () => {
    await until('no file of staging is open', async () => (await openUnder(gateway.config.STAGING_DIR)).length === 0);
    expect(await gateway.stagedFiles()).to.deep.equal([]);
  });

  async function expectStored(ticketId: string): Promise<void> {
    const { images } = await untilCompleted(api, ticketId);
    const stored = Buffer.from(await (await fetch(images[0].url)).arrayBuffer());
    expect(stored.equals(photo)).to.equal(true);
    await until('its file is gone', async () => (await gateway.stagedFiles()).length === 0);
  }
});

/** A small disk of its own, in memory; null where mounting is not allowed. */
function mountDisk(): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'hopla-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', directory], { stdio: 'ignore' });
    return directory;
  } catch {
    // Not root, or no such program.
    rmdirSync(directory);
    return null;
  }
}
