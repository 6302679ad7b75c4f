import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { createLocker } from '../../src/cluster/local-lock.ts';
import { joinPeers } from '../../src/cluster/membership-unix.ts';
import { createHolders } from '../../src/cluster/ownership.ts';
import { type Gateway, type GatewayConfig, startGateway } from '../../src/gateway.ts';
import { openStaging } from '../../src/staging/local/folder.ts';
import { type Balancer, startBalancer } from '../chaos/balancer.ts';
import { createRandom } from '../chaos/random.ts';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startCutProxy } from '../support/cut-proxy.ts';
import { sha256Of } from '../support/digest.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createLogBook, type LogBook } from '../transfers/rig.ts';
import { openUnder, watchLeaks } from '../uploads/leaks.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest } from '../uploads/raw.ts';

describe('two gateways over one staging folder', () => {
  let gateway: TestGateway;
  let other: Gateway;
  let api: Api;
  let leaks: ReturnType<typeof watchLeaks>;
  let book: LogBook;
  let balancer: Balancer;
  let held: Promise<void> | null = null;
  let seed = 0;
  const photo = (bytes = 300_000) => {
    seed += 1;
    return jpeg({ bytes, seed });
  };
  const more = (settings: Partial<GatewayConfig> = {}) =>
    startGateway({ ...gateway.config, PORT: 0, ...settings }, book.log);
  /** An upload as it is seen through each of the two. */
  const begin = async (bytes: Buffer) => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const here = await endpoint.begin({ size: bytes.length });
    return { ticket, endpoint, here, there: here.replace(gateway.url, other.url), id: here.split('/').at(-1) ?? '' };
  };
  const holderOf = async (id: string) => (await gateway.db('images').where({ id }).first('holder')).holder as string;
  const expectStored = async (ticket: Json, bytes: Buffer) => {
    const { images } = await untilCompleted(api, ticket.id);
    expect(images.map(({ sha256 }: Json) => sha256)).to.deep.equal([sha256Of(bytes)]);
    const delivered = Buffer.from(await (await fetch(images[0].url)).arrayBuffer());
    expect(delivered.equals(bytes), 'the stored bytes are those of the photo').to.equal(true);
  };
  /** Sends some bytes of a PATCH and then nothing, as a client does whose network went away. */
  const sendPart = async (url: string, token: string, bytes: Buffer, part: number, ticket: Json) => {
    const length = `${bytes.length}`;
    const headers = { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': '0', 'Content-Length': length };
    const request = openRequest('PATCH', url, { token, headers });
    request.on('error', () => {});
    request.write(bytes.subarray(0, part));
    await until('some of it is here', async () => (await api.ticket(ticket.id)).images[0].offset === part);
    return request;
  };

  before(async () => {
    leaks = watchLeaks();
    gateway = await startTestGateway();
    book = createLogBook();
    other = await startGateway({ ...gateway.config, PORT: 0 }, book.log, (point) =>
      point === 'upload.synced' ? (held ?? undefined) : undefined,
    );
    api = createApi(gateway.url, (await gateway.createUser()).token);
    balancer = await startBalancer(
      [gateway.url, other.url].map((url) => Number(new URL(url).port)),
      createRandom('1'),
    );
    balancer.hurry();
  });
  after(async () => {
    await balancer.close();
    await other.close();
    await gateway.close();
  });

  it('take the pieces of one photo in turns', async () => {
    const bytes = photo();
    const { ticket, endpoint, here, there, id } = await begin(bytes);
    for (const [index, at] of [0, 100_000, 200_000].entries()) {
      const { status } = await endpoint.patch(index % 2 === 0 ? there : here, at, bytes.subarray(at, at + 100_000));
      expect(status).to.equal(204);
      expect((await endpoint.head(index % 2 === 0 ? here : there)).headers['upload-offset']).to.equal(
        `${at + 100_000}`,
      );
    }
    expect(await gateway.db('images').where({ id }).first('status')).not.to.deep.equal({ status: 'uploading' });
    await expectStored(ticket, bytes);
  });

  it('do not go by what they knew of a photo before the other went on with it', async () => {
    const bytes = photo();
    const { ticket, endpoint, here, there } = await begin(bytes);
    expect((await endpoint.patch(here, 0, bytes.subarray(0, 100_000))).status).to.equal(204);
    expect((await endpoint.patch(there, 100_000, bytes.subarray(100_000, 200_000))).status).to.equal(204);
    const stale = await endpoint.patch(here, 100_000, bytes.subarray(100_000));
    expectProblem(stale, 409, 'offset-conflict');
    expect(stale.headers['upload-offset']).to.equal('200000');
    expect((await endpoint.patch(here, 200_000, bytes.subarray(200_000))).status).to.equal(204);
    await expectStored(ticket, bytes);
  });

  it('take forty photos at once from clients that a balancer sends anywhere', async function () {
    this.timeout(60_000);
    const tickets = await Promise.all(Array.from({ length: 40 }, () => api.openTicket(1)));
    await Promise.all(
      tickets.map(async (ticket) => {
        const bytes = photo(120_000);
        const options = tusOptions({ ...ticket, uploadUrl: ticket.uploadUrl.replace(gateway.url, balancer.url) });
        await tusUpload(bytes, {
          ...options,
          chunkSize: 30_000,
          retryDelays: Array(100).fill(100),
          metadata: { slot: 'a' },
        });
        await expectStored(ticket, bytes);
      }),
    );
  });

  for (const [where, through] of [
    ['it comes back to', (url: string) => url],
    ['beside the one it comes back to', (url: string) => url.replace(gateway.url, other.url)],
  ] as const) {
    it(`let go of a silent connection to the process ${where}, within 5 s`, async () => {
      const bytes = photo();
      const { ticket, endpoint, here } = await begin(bytes);
      const proxy = await startCutProxy(gateway.url);
      const url = through(here);
      try {
        await sendPart(here.replace(gateway.url, proxy.url.replace(/\/$/, '')), endpoint.token, bytes, 120_000, ticket);
        proxy.freeze();
        const since = performance.now();
        const { status, headers } = await endpoint.head(url);
        expect(`${status} ${headers['upload-offset']}`).to.equal('200 120000');
        expect(await openUnder(gateway.config.STAGING_DIR), 'files open').to.deep.equal([]);
        expect((await endpoint.patch(url, 120_000, bytes.subarray(120_000))).status).to.equal(204);
        expect(performance.now() - since).to.be.lessThan(5_000);
        await expectStored(ticket, bytes);
      } finally {
        await proxy.close();
      }
    });
  }

  it('ask each other to let go: the request that is cut is told 423', async () => {
    const bytes = photo();
    const { ticket, endpoint, here, there, id } = await begin(bytes);
    const cut = answerTo(await sendPart(here, endpoint.token, bytes, 100_000, ticket));
    const before = await holderOf(id);
    expect((await endpoint.head(there)).headers['upload-offset']).to.equal('100000');
    expectProblem(await cut, 423, 'upload-locked');
    expect(await holderOf(id)).not.to.equal(before);
    expect((await endpoint.patch(there, 100_000, bytes.subarray(100_000))).status).to.equal(204);
    await expectStored(ticket, bytes);
  });

  it('believe nothing that they learnt of bytes before another went on', async () => {
    const [bytes, replaced] = [photo(), photo()];
    const { ticket, endpoint, here, there, id } = await begin(bytes);
    await endpoint.patch(here, 0, replaced.subarray(0, 100_000));
    expect((await endpoint.head(there)).headers['upload-offset']).to.equal('100000');
    // As after an fsync that failed: the upload starts over.
    await rm(join(gateway.config.STAGING_DIR, id));
    expect((await endpoint.patch(there, 0, bytes.subarray(0, 100_000))).status).to.equal(204);
    expect((await endpoint.patch(here, 100_000, bytes.subarray(100_000))).status).to.equal(204);
    await expectStored(ticket, bytes);
  });

  it('leave what another is just committing to it, recovery at a start included', async () => {
    const bytes = photo();
    const { ticket, endpoint, there, here, id } = await begin(bytes);
    const goOn = Promise.withResolvers<void>();
    held = goOn.promise;
    const answer = endpoint.patch(there, 0, bytes);
    await until('every byte is here', async () => (await api.ticket(ticket.id)).images[0].offset === bytes.length);
    const holder = await holderOf(id);
    const third = await more();
    await third.close();
    const meddled = book.lines.filter(({ msg }) => /complete upload was not committed|not handed over/.test(msg));
    expect(meddled).to.deep.equal([]);
    const { status, holder: still } = await gateway.db('images').where({ id }).first('status', 'holder');
    expect({ status, holder: still }).to.deep.equal({ status: 'uploading', holder });
    const head = endpoint.head(here);
    held = null;
    goOn.resolve();
    expect((await answer).status).to.equal(204);
    expect((await head).headers['upload-offset']).to.equal(`${bytes.length}`);
    await expectStored(ticket, bytes);
  });

  it('commit nothing of an upload that is not theirs any more', async () => {
    const bytes = photo();
    const { ticket, endpoint, there, id } = await begin(bytes);
    const goOn = Promise.withResolvers<void>();
    held = goOn.promise;
    const answer = endpoint.patch(there, 0, bytes);
    await until('every byte is here', async () => (await api.ticket(ticket.id)).images[0].offset === bytes.length);
    const holder = await holderOf(id);
    await gateway.db('images').where({ id }).update({ holder: 'somebody else' });
    held = null;
    goOn.resolve();
    expectProblem(await answer, 423, 'upload-locked');
    expect((await api.ticket(ticket.id)).images[0].status).to.equal('uploading');
    await gateway.db('images').where({ id }).update({ holder });
    expect((await endpoint.head(there)).headers['upload-offset']).to.equal(`${bytes.length}`);
    await expectStored(ticket, bytes);
  });

  it('take over at once what another held that was stopped', async () => {
    const bytes = photo();
    const { ticket, endpoint, here, there } = await begin(bytes);
    const third = await more();
    const away = here.replace(gateway.url, third.url);
    expect((await endpoint.patch(away, 0, bytes.subarray(0, 100_000))).status).to.equal(204);
    await third.close();
    const since = performance.now();
    expect((await endpoint.patch(there, 100_000, bytes.subarray(100_000))).status).to.equal(204);
    expect(performance.now() - since).to.be.lessThan(1_000);
    await expectStored(ticket, bytes);
  });

  it('tell 423 while a holder does not answer, and go on the moment it has ended', async () => {
    const { id, endpoint, here } = await begin(photo());
    const { STAGING_DIR: directory } = gateway.config;
    const [mute, peers] = [await joinPeers(directory, book.log), await joinPeers(directory, book.log)];
    await gateway.db('images').where({ id }).update({ holder: mute.own });
    const staging = await openStaging({ directory, budgetBytes: 0, userBudgetBytes: 0, freeBytes: 0 });
    const deps = { db: gateway.db, staging, peers, intake: { forget() {} }, log: book.log };
    const { locker } = createHolders({ ...deps, locker: createLocker(30_000), timeoutMs: 200 });
    const never = new AbortController().signal;
    const lock = locker.newLock(id);
    expect(await lock.lock(never, () => {}).catch((error) => error)).to.include({ code: 'upload-locked', status: 423 });
    const patient = createHolders({ ...deps, locker: createLocker(30_000), timeoutMs: 30_000 }).locker.newLock(id);
    const locked = patient.lock(never, () => {});
    locked.catch(() => {});
    await mute.close();
    await locked;
    expect(await holderOf(id)).to.equal(peers.own);
    await patient.unlock();
    await peers.close();
    expect((await endpoint.remove(here)).status).to.equal(204);
  });

  it('show where an upload stands that the other receives, and where it goes on from after a mistake', async () => {
    const bytes = photo();
    const { ticket, endpoint, here, there } = await begin(bytes);
    const beyond = createApi(other.url, api.token);
    const offsets = async () => [
      (await api.ticket(ticket.id)).images[0].offset,
      (await beyond.ticket(ticket.id)).images[0].offset,
    ];
    expect(await offsets()).to.deep.equal([0, 0]);
    for (const [at, place] of [
      [0, there],
      [50_000, here],
      [100_000, there],
    ] as const) {
      expect((await endpoint.patch(place, at, bytes.subarray(at, at + 50_000))).status).to.equal(204);
      const receiving = place === here ? api : beyond;
      expect((await receiving.ticket(ticket.id)).images[0].offset, 'where it is received: at once').to.equal(
        at + 50_000,
      );
      await until('the other knows', async () => (await offsets()).every((offset) => offset === at + 50_000));
    }
    // One byte more than the photo has: none of them counts, on either side.
    const chunked = { chunkBytes: 50_000 };
    const excess = Buffer.concat([bytes.subarray(150_000), Buffer.alloc(1)]);
    expectProblem(await endpoint.patch(there, 150_000, excess, chunked), 413, 'length-exceeded');
    expect((await beyond.ticket(ticket.id)).images[0].offset).to.equal(150_000);
    await until('the other knows', async () => (await offsets()).every((offset) => offset === 150_000));
    expect((await endpoint.patch(here, 150_000, bytes.subarray(150_000))).status).to.equal(204);
    await expectStored(ticket, bytes);
  });

  it('have one budget', async () => {
    const limited = { STAGING_BUDGET_BYTES: 2_000_000, MAX_IMAGE_BYTES: 1_000_000 };
    const [one, two] = [await more(limited), await more(limited)];
    try {
      const ticket = await api.openTicket(5);
      const at = ({ url }: Gateway) =>
        createEndpoint({ ...ticket, uploadUrl: ticket.uploadUrl.replace(gateway.url, url) });
      const first = await at(one).begin({ size: 1_000_000 });
      await at(two).begin({ size: 900_000 });
      for (const full of [one, two]) {
        const refused = async () => {
          const answer = await at(full).create({ size: 200_000 });
          if (answer.status !== 201) return answer;
          // Before it heard of the other.
          await at(full).remove(String(answer.headers.location));
          return null;
        };
        expectProblem(await until('it is full', refused), 507, 'staging-full');
      }
      await at(two).remove(first.replace(one.url, two.url));
      await until('there is room again', async () => (await at(one).create({ size: 200_000 })).status === 201);
    } finally {
      await Promise.all([one.close(), two.close()]);
    }
  });

  it('leave nothing behind', () => leaks.check(gateway));
});
