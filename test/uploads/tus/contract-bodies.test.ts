import { stat } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Json, until, untilCompleted } from '../../support/client.ts';
import { useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest } from '../raw.ts';

describe('the body of an upload', () => {
  const photo = jpeg({ bytes: 900_000 });
  const { gateway, api } = useGateway();

  const open = async (size: number | null = photo.length) => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    return { ticket, endpoint, url: await endpoint.begin({ size }) };
  };
  const stagedBytes = async (url: string) => {
    const path = join(gateway.config.STAGING_DIR, url.split('/').at(-1) ?? '');
    return (await stat(path).catch(() => ({ size: 0 }))).size;
  };
  /** Opens a PATCH and sends some of its body; it stays open. */
  const openPatch = (url: string, token: string, offset: number, headers: Record<string, string>, piece: Buffer) => {
    const patch = openRequest('PATCH', url, {
      token,
      headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': `${offset}`, ...headers },
    });
    patch.write(piece);
    return patch;
  };
  const expectStored = async (ticketId: string) => {
    const { images } = await untilCompleted(api, ticketId);
    const stored = await Promise.all(
      images.map(async ({ url }: Json) => Buffer.from(await (await fetch(url)).arrayBuffer())),
    );
    expect(stored.map((bytes) => bytes.equals(photo))).to.deep.equal([true]);
  };

  for (const [how, headers] of [
    ['with a length', { 'Content-Length': `${photo.length}` }],
    ['chunked', { 'Transfer-Encoding': 'chunked' }],
  ] as const) {
    it(`that is cut off in the middle keeps its bytes (${how})`, async () => {
      const { ticket, endpoint, url } = await open();
      const patch = openPatch(url, endpoint.token, 0, headers, photo.subarray(0, 345_678));
      const cut = answerTo(patch).catch((error: Error) => error.message);
      await until('the bytes are staged', async () => (await stagedBytes(url)) === 345_678);
      patch.destroy();
      expect(await cut).to.equal('socket hang up');
      const { headers: looked } = await endpoint.head(url);
      expect(looked['upload-offset']).to.equal('345678');
      await endpoint.patch(url, 345_678, photo.subarray(345_678));
      await expectStored(ticket.id);
    });
  }

  it('keeps the bytes of a creation that is cut off, and its slot finds them', async () => {
    const ticket = await api.openTicket(1);
    const endpoint = createEndpoint(ticket);
    const metadata = { slot: 'only' };
    const post = openRequest('POST', endpoint.uploadUrl, {
      token: endpoint.token,
      headers: {
        'Content-Type': OFFSET_STREAM,
        'Content-Length': `${photo.length}`,
        'Upload-Length': `${photo.length}`,
        'Upload-Metadata': `slot ${Buffer.from('only').toString('base64')}`,
      },
    });
    const cut = answerTo(post).catch((error: Error) => error.message);
    post.write(photo.subarray(0, 100_000));
    await until('the bytes are staged', async () => (await api.ticket(ticket.id)).images[0]?.offset === 100_000);
    post.destroy();
    await cut;
    const found = await endpoint.create({ size: photo.length, metadata });
    expect([found.status, found.headers['upload-offset']]).to.deep.equal([201, '100000']);
    await endpoint.patch(String(found.headers.location), 100_000, photo.subarray(100_000));
    await expectStored(ticket.id);
  });

  it('may come chunked, in pieces of any size', async () => {
    for (const chunkBytes of [777, 65_536, 300_000]) {
      const { ticket, endpoint, url } = await open();
      const answer = await endpoint.patch(url, 0, photo, { chunkBytes });
      expect([answer.status, answer.headers['upload-offset']]).to.deep.equal([204, `${photo.length}`]);
      await expectStored(ticket.id);
    }
  });

  it('may be empty', async () => {
    const { endpoint, url } = await open();
    const nothing = Buffer.alloc(0);
    expect((await endpoint.patch(url, 0, nothing)).headers['upload-offset']).to.equal('0');
    await endpoint.patch(url, 0, photo);
    const again = await endpoint.patch(url, photo.length, nothing);
    expect([again.status, again.headers['upload-offset']]).to.deep.equal([204, `${photo.length}`]);
  });

  it('may come byte by byte', async () => {
    const small = jpeg({ width: 8, height: 8 });
    const { ticket, endpoint, url } = await open(small.length);
    for (let at = 0; at < small.length; at += 1) {
      const { status } = await endpoint.patch(url, at, small.subarray(at, at + 1));
      expect(status).to.equal(204);
    }
    await untilCompleted(api, ticket.id);
  });

  it('longer than the upload is refused whole', async () => {
    const { ticket, endpoint, url } = await open();
    await endpoint.patch(url, 0, photo.subarray(0, 1_000));
    const longer = Buffer.concat([photo.subarray(1_000), Buffer.alloc(1)]);
    for (const more of [{}, { chunkBytes: 50_000 }]) {
      expectProblem(await endpoint.patch(url, 1_000, longer, more), 413, 'length-exceeded');
      const { headers } = await endpoint.head(url);
      expect(headers['upload-offset'], 'not a byte was taken').to.equal('1000');
    }
    await endpoint.patch(url, 1_000, photo.subarray(1_000));
    expectProblem(await endpoint.patch(url, photo.length, Buffer.alloc(1)), 413, 'length-exceeded');
    await expectStored(ticket.id);
  });

  it('that is refused, unread or in the middle, leaves its connection fit for the next request', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const sockets = new Set();
    const { endpoint, url } = await open();
    const send = (offset: number, body: Buffer) => {
      const patch = openRequest('PATCH', url, {
        token: endpoint.token,
        agent,
        headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': `${offset}`, 'Transfer-Encoding': 'chunked' },
      });
      patch.on('socket', (socket) => sockets.add(socket));
      const answer = answerTo(patch);
      patch.end(body);
      return answer;
    };
    const large = Buffer.alloc(8_000_000, photo);
    expectProblem(await send(5, large), 409, 'offset-conflict');
    expectProblem(await send(0, large), 413, 'length-exceeded');
    expectProblem(await send(0, Buffer.alloc(8_000_000)), 415, 'unsupported-image');
    expectProblem(await send(0, large), 410, 'upload-gone');
    expect(sockets.size, 'one connection').to.equal(1);
    agent.destroy();
  });

  it('that another request asks for is let go, and keeps its bytes', async () => {
    const { ticket, endpoint, url } = await open();
    const length = { 'Content-Length': `${photo.length}` };
    const patch = openPatch(url, endpoint.token, 0, length, photo.subarray(0, 400_000));
    const first = answerTo(patch);
    await until('the bytes are staged', async () => (await stagedBytes(url)) === 400_000);
    const asked = performance.now();
    const looked = await endpoint.head(url);
    expect([looked.status, looked.headers['upload-offset']]).to.deep.equal([200, '400000']);
    expect(performance.now() - asked).to.be.below(5_000);
    expectProblem(await first, 423, 'upload-locked');
    patch.destroy();
    await endpoint.patch(url, 400_000, photo.subarray(400_000));
    await expectStored(ticket.id);
  });

  it('that is asked to let go may end if its last byte is near', async () => {
    const { ticket, endpoint, url } = await open();
    const length = { 'Content-Length': `${photo.length}` };
    const patch = openPatch(url, endpoint.token, 0, length, photo.subarray(0, 400_000));
    const first = answerTo(patch);
    await until('the bytes are staged', async () => (await stagedBytes(url)) === 400_000);
    const head = endpoint.head(url);
    patch.end(photo.subarray(400_000));
    expect((await first).status).to.equal(204);
    expect((await head).headers['upload-offset']).to.equal(`${photo.length}`);
    await expectStored(ticket.id);
  });

  it('is not written to by a PATCH that waited for it', async () => {
    const { ticket, endpoint, url } = await open();
    const answers = await Promise.all(Array.from({ length: 6 }, () => endpoint.patch(url, 0, photo)));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses.filter((status) => status === 204)).to.have.lengthOf(1);
    expect(statuses.filter((status) => status !== 204).every((status) => [409, 423].includes(status))).to.equal(true);
    await expectStored(ticket.id);
  });

  it('stays put while HEAD after HEAD asks for it', async () => {
    const { ticket, endpoint, url } = await open();
    let offset = 0;
    const heads = Array.from({ length: 30 }, () => endpoint.head(url));
    while (offset < photo.length) {
      const answer = await endpoint.patch(url, offset, photo.subarray(offset, offset + 100_000));
      expect(answer.status).to.be.oneOf([204, 409, 423]);
      offset = Number((await endpoint.head(url)).headers['upload-offset']);
    }
    expect((await Promise.all(heads)).map(({ status }) => status)).to.deep.equal(Array(30).fill(200));
    await expectStored(ticket.id);
  });

  it('that falls silent is ended in time, and keeps its bytes', async () => {
    const { ticket, endpoint, url } = await open();
    await gateway.restart({ UPLOAD_IDLE_SECONDS: '1' });
    const length = { 'Content-Length': `${photo.length}` };
    const patch = openPatch(url, endpoint.token, 0, length, photo.subarray(0, 400_000));
    expect(await answerTo(patch).catch((error: Error) => error.message)).to.equal('socket hang up');
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('400000');
    await endpoint.patch(url, 400_000, photo.subarray(400_000));
    await expectStored(ticket.id);
  });
});
