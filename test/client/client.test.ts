import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Client, createClient, type PhotoProgress, ProblemError, type TicketEvent } from 'hopla/client';
import { startTcpProxy } from '../http/tcp-proxy.ts';
import { until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

describe('hopla/client', () => {
  const { gateway } = useGateway({ TRANSFER_ATTEMPTS: '1' });
  let client: Client;
  let token: string;
  before(async () => {
    token = (await gateway.createUser()).token;
    client = createClient({ url: gateway.url, token });
  });

  const photo = (slot: string, bytes = 20_000, seed = bytes) => ({
    slot,
    filename: `${slot}.jpg`,
    data: jpeg({ bytes, seed }),
  });

  it('opens a ticket, uploads, and waits until all is delivered', async () => {
    const ticket = await client.openTicket({ images: 3, description: 'three', metadata: { a: 1 } });
    const progress: PhotoProgress[] = [];
    const events: TicketEvent[] = [];
    const delivered = client.delivered(ticket, { onEvent: (event) => events.push(event) });
    const results = await client.upload(ticket, [photo('a', 400_000), photo('b'), photo('c', 30_000)], {
      onProgress: (step) => progress.push(step),
    });
    expect(results.map(({ slot, status }) => `${slot} ${status}`)).to.deep.equal([
      'a received',
      'b received',
      'c received',
    ]);
    const detail = await delivered;
    expect(detail).to.deep.include({ status: 'completed', description: 'three', metadata: { a: 1 } });
    expect(detail.images.map((image) => image.slot).sort()).to.deep.equal(['a', 'b', 'c']);
    for (const image of detail.images) expect((await fetch(image.url ?? '')).status).to.equal(200);
    expect(progress).to.deep.include({ slot: 'a', bytes: 400_000, total: 400_000 });
    expect(events.at(0)?.type).to.equal('snapshot');
    expect(events.at(-1)?.type).to.equal('end');
    const page = await client.tickets({ status: ['completed'], limit: 1 });
    expect(page.items.map(({ id }) => id)).to.deep.equal([ticket.id]);
  });

  it('sends nothing of photos whose slots are missing, or the same', async () => {
    const ticket = await client.openTicket({ images: 2 });
    for (const photos of [[photo('')], [photo('a'), { ...photo('b'), slot: undefined as unknown as string }]])
      expect(await client.upload(ticket, photos).catch((error) => error.message)).to.match(/needs a slot/);
    const same = await client.upload(ticket, [photo('a', 9_000, 1), photo('a', 9_000, 2)]).catch((error) => error);
    expect(same).to.be.instanceOf(TypeError);
    expect((await client.ticket(ticket.id)).images).to.deep.equal([]);
  });

  it('works with an upload token alone, as somebody’s phone does', async () => {
    const { uploadToken, ...ticket } = await client.openTicket({ images: 1 });
    const guest = createClient({ url: gateway.url, token: uploadToken });
    const [detail] = await Promise.all([guest.delivered(ticket), guest.upload(ticket, [photo('mine')])]);
    expect(detail.counts.stored).to.equal(1);
  });

  it('returns the same ticket for the same idempotency key', async () => {
    const options = { idempotencyKey: 'the same' };
    const [first, second] = [
      await client.openTicket({ images: 2 }, options),
      await client.openTicket({ images: 2 }, options),
    ];
    expect(second.id).to.equal(first.id);
    const error = await client.openTicket({ images: 3 }, options).catch((reason) => reason);
    expect(error).to.be.instanceOf(ProblemError).and.include({ code: 'idempotency-key-reused', status: 422 });
  });

  it('tells problems by their code', async () => {
    const invalid = await client.openTicket({ images: 0 }).catch((reason) => reason);
    expect(invalid).to.include({ code: 'invalid-request', status: 422, name: 'ProblemError' });
    expect(invalid.problem.errors[0].path).to.equal('images');
    const stranger = createClient({ url: gateway.url, token: 'hop_wrong' });
    const id = '01a20744-42d0-7f3d-b606-c37eb7a9349b';
    expect(await stranger.ticket(id).catch((reason) => reason)).to.include({ code: 'unauthorized', status: 401 });
    const ticket = { id, uploadUrl: `${gateway.url}/x`, eventsUrl: `${gateway.url}/v1/tickets/${id}/events` };
    expect(await client.delivered(ticket).catch((reason) => reason)).to.include({ code: 'ticket-not-found' });
    const nowhere = createClient({ url: 'http://127.0.0.1:9', token });
    expect(await nowhere.ticket(id).catch((reason) => reason)).to.include({ code: 'unreachable', status: 0 });
  });

  it('says which photo is refused and why, and goes on with the others', async () => {
    const ticket = await client.openTicket({ images: 2 });
    const text = { slot: 'text', data: Buffer.from('this is no photo, it only pretends to be one') };
    const wrong = { ...photo('wrong'), sha256: '0'.repeat(64) };
    const results = await client.upload(ticket, [text, wrong, photo('good')], { concurrency: 1 });
    expect(results.map((result) => (result.status === 'refused' ? result.error.code : result.status))).to.deep.equal([
      'unsupported-image',
      'checksum-mismatch',
      'received',
    ]);
    const [detail] = await Promise.all([client.delivered(ticket), client.upload(ticket, [photo('text', 21_000)])]);
    expect(detail.counts.stored).to.equal(2);
  });

  it('stops when told to, and goes on later with what is there', async () => {
    const ticket = await client.openTicket({ images: 2 });
    const directory = await mkdtemp(join(tmpdir(), 'hopla-client-'));
    const path = join(directory, 'large.jpg');
    await writeFile(path, jpeg({ bytes: 3_000_000 }));
    try {
      const slow = await startSlowProxy(gateway.url, 500_000);
      const through = { ...ticket, uploadUrl: ticket.uploadUrl.replace(gateway.url, slow.url) };
      const abort = new AbortController();
      const large = { slot: 'large', data: () => createReadStream(path) };
      const stopped = client.upload(through, [large], { signal: abort.signal }).catch((reason) => reason);
      await until(
        'some of it is there',
        async () => ((await client.ticket(ticket.id)).images[0]?.offset ?? 0) > 100_000,
      );
      abort.abort(new Error('enough'));
      expect((await stopped).message).to.equal('enough');
      await slow.close();

      const before = await until('the server knows that it stopped', async () => {
        const [image] = (await client.ticket(ticket.id)).images;
        return image?.status === 'uploading' && image.offset < 3_000_000 ? image : null;
      });
      const steps: PhotoProgress[] = [];
      const photos = [large, photo('small')];
      const results = await client.upload(ticket, photos, { onProgress: (step) => steps.push(step) });
      expect(results[0]).to.deep.equal({ slot: 'large', status: 'received', imageId: before.id });
      expect(Math.min(...steps.filter(({ slot }) => slot === 'large').map(({ bytes }) => bytes))).to.be.above(100_000);
      expect(await client.upload(ticket, photos)).to.deep.equal(results);
      await client.delivered(ticket);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it('sends nothing when told to stop while it opens the file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'hopla-client-'));
    const path = join(directory, 'photo.jpg');
    await writeFile(path, photo('early').data);
    const ticket = await client.openTicket({ images: 2 });
    const stopping = new AbortController();
    const data = () => {
      setImmediate(() => stopping.abort());
      return createReadStream(path);
    };
    const outcome = await client
      .upload(ticket, [{ slot: 'early', data }], { signal: stopping.signal })
      .catch((error) => error.name);
    expect(outcome).to.equal('AbortError');
    await client.upload(ticket, [photo('late')]);
    const { images } = await client.ticket(ticket.id);
    expect(images.map(({ slot }) => slot)).to.deep.equal(['late']);
    await rm(directory, { recursive: true });
  });

  it('comes back to the events after a lost connection, and misses nothing', async () => {
    const ticket = await client.openTicket({ images: 2 });
    const proxy = await startTcpProxy(gateway.url);
    const events: TicketEvent[] = [];
    const through = { ...ticket, eventsUrl: ticket.eventsUrl.replace(`${gateway.url}/`, proxy.url) };
    const delivered = client.delivered(through, { onEvent: (event) => events.push(event) });
    await until('it watches', () => events.length > 0);
    await client.upload(ticket, [photo('one')]);
    await until('it saw one stored', () =>
      events.some((event) => event.type === 'image' && event.data.status === 'stored'),
    );
    proxy.cut();
    await client.upload(ticket, [photo('two')]);
    proxy.restore();
    expect((await delivered).status).to.equal('completed');
    expect(events.filter(({ type }) => type === 'snapshot')).to.have.lengthOf(2);
    expect(events.at(-1)?.type).to.equal('end');
    await proxy.close();
  });

  it('stops following when told to', async () => {
    const ticket = await client.openTicket({ images: 1 });
    const abort = new AbortController();
    const seen: string[] = [];
    const error = await (async () => {
      for await (const { type } of client.follow(ticket, { signal: abort.signal })) {
        seen.push(type);
        abort.abort(new Error('enough'));
      }
    })().catch((reason) => reason);
    expect(error.message).to.equal('enough');
    expect(seen).to.deep.equal(['snapshot']);
    for await (const { type } of client.follow(ticket)) {
      expect(type).to.equal('snapshot');
      break;
    }
  });

  it('says so when an image cannot be delivered', async () => {
    const ticket = await client.openTicket({ images: 1 });
    gateway.cloudinary.faults.add({ match: { operation: 'upload' }, times: 1, fault: { kind: 'wrong-etag' } });
    const delivered = client.delivered(ticket).catch((reason) => reason);
    await client.upload(ticket, [photo('bad', 22_000)]);
    expect(await delivered)
      .to.be.instanceOf(ProblemError)
      .and.include({ code: 'storage-mismatch' });
  });

  it('waits as long as it is told when there is too much at once', async () => {
    let asked = 0;
    const server = createServer((_request, response) => {
      asked += 1;
      response.writeHead(asked === 1 ? 429 : 201, { 'Retry-After': '1' });
      response.end(JSON.stringify(asked === 1 ? { code: 'too-many-requests', detail: 'slowly' } : { id: 'x' }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const began = performance.now();
    expect(await createClient({ url: `http://127.0.0.1:${port}`, token }).openTicket({ images: 1 })).to.deep.equal({
      id: 'x',
    });
    expect(performance.now() - began).to.be.above(990);
    server.close();
    server.closeAllConnections();
  });
});

/** A way to the gateway that lets so many bytes a second through in each connection. */
async function startSlowProxy(
  target: string,
  bytesPerSecond: number,
): Promise<{ url: string; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((near) => {
    const far = connect(Number(new URL(target).port), '127.0.0.1');
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    far.pipe(near);
    near.on('data', (piece) => {
      far.write(piece);
      near.pause();
      setTimeout(() => near.resume(), (piece.length / bytesPerSecond) * 1000);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
