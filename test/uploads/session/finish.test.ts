import { expect } from 'chai';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../../support/client.ts';
import { type CutProxy, startCutProxy } from '../../support/cut-proxy.ts';
import { sha256Of } from '../../support/digest.ts';
import { startTestGateway, type TestGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest } from '../raw.ts';

const RECOVERY_MS = 15_000;

describe('an upload whose commit must wait', () => {
  const photo = jpeg({ bytes: 300_000, seed: 9 });
  /** A parameter of what makes the image received, and what follows while a worker waits for images. */
  const COMMIT = [sha256Of(photo), 'COMMIT;'];
  const size = photo.length;
  const last = size - 1;
  let gateway: TestGateway;
  let proxy: CutProxy;
  let api: Api;
  before(async () => {
    gateway = await startTestGateway();
    proxy = await startCutProxy(gateway.config.DATABASE_URL);
    await gateway.restart({ DATABASE_URL: proxy.url });
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  afterEach(() => proxy.restore());
  after(async () => {
    await gateway.close();
    await proxy.close();
  });

  const open = async () => {
    const ticket = await api.openTicket(1);
    return { ticket, endpoint: createEndpoint(ticket) };
  };
  const send = (method: 'PATCH' | 'POST', url: string, token: string, headers: Record<string, string>) => {
    const request = openRequest(method, url, {
      token,
      headers: { 'Content-Type': OFFSET_STREAM, 'Content-Length': `${size}`, ...headers },
    });
    request.write(photo.subarray(0, last));
    return request;
  };
  /** The image as the database has it, asked past the proxy. */
  const imageOf = (ticketId: string): Promise<Json> => gateway.db('images').where({ ticket_id: ticketId }).first();
  const untilStaged = (ticketId: string, bytes: number) =>
    until(`${bytes} bytes are staged`, async () => (await api.ticket(ticketId)).images[0]?.offset === bytes);

  /** The image came to the storage, whole and once. */
  const expectOneTransfer = async (ticketId: string, timeoutMs?: number) => {
    const { images } = await untilCompleted(api, ticketId, timeoutMs);
    expect(images).to.have.lengthOf(1);
    const stored = Buffer.from(await (await fetch(images[0].url)).arrayBuffer());
    expect(stored.equals(photo)).to.equal(true);
    const sent = gateway.cloudinary.ledger.entries({ publicId: images[0].storage.key, operation: 'upload' });
    expect(sent.map(({ stored, existing }) => ({ stored, existing }))).to.deep.equal([
      { stored: true, existing: false },
    ]);
    await until('its file is gone', async () => !(await gateway.stagedFiles()).includes(images[0].id));
  };
  const untilCommitted = async (endpoint: ReturnType<typeof createEndpoint>, url: string) => {
    const answers = new Set<number>();
    await until(
      'HEAD says that all is here',
      async () => {
        const { status, headers } = await endpoint.head(url);
        answers.add(status);
        return status === 200 && headers['upload-offset'] === `${size}`;
      },
      RECOVERY_MS,
    );
    expect([...answers].filter((status) => ![200, 423].includes(status))).to.deep.equal([]);
  };

  it('answers 423 to PATCH, HEAD and DELETE while the database is away, and commits with a HEAD', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size });
    const patch = send('PATCH', url, endpoint.token, { 'Upload-Offset': '0' });
    const answer = answerTo(patch);
    await untilStaged(ticket.id, last);
    proxy.cut();
    patch.end(photo.subarray(last));
    expectProblem(await answer, 423, 'upload-uncommitted');
    expect((await answer).headers['retry-after']).to.equal('1');
    // Longer than tokens and tickets are remembered.
    const started = performance.now();
    while (performance.now() - started < 3_000) expect((await endpoint.head(url)).status).to.equal(423);
    const again = await endpoint.patch(url, last, photo.subarray(last));
    expectProblem(again, 423, 'upload-unavailable');
    expectProblem(await endpoint.remove(url), 423, 'upload-unavailable');
    const created = await endpoint.create({ size });
    expectProblem(created, 503, 'service-unavailable');
    expect(Number(created.headers['retry-after'])).to.be.greaterThan(0);
    expect((await imageOf(ticket.id)).status).to.equal('uploading');
    proxy.restore();
    await untilCommitted(endpoint, url);
    await expectOneTransfer(ticket.id);
  });

  it('is committed at the next start when its client never comes back', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size, body: photo.subarray(0, last) });
    const cut = proxy.trap(COMMIT, 'before');
    expectProblem(await endpoint.patch(url, last, photo.subarray(last)), 423, 'upload-uncommitted');
    await cut;
    proxy.restore();
    await gateway.restart({ DATABASE_URL: proxy.url });
    await expectOneTransfer(ticket.id);
  });

  it('is committed once when the answer to COMMIT was lost', async () => {
    const { ticket, endpoint } = await open();
    const url = await endpoint.begin({ size });
    const cut = proxy.trap(COMMIT, 'after');
    expectProblem(await endpoint.patch(url, 0, photo), 423, 'upload-uncommitted');
    await cut;
    await until('the database has it', async () => (await imageOf(ticket.id)).status === 'received');
    expect((await endpoint.head(url)).status).to.equal(423);
    proxy.restore();
    await untilCommitted(endpoint, url);
    await expectOneTransfer(ticket.id);
  });

  it('that came whole with its creation is answered with an address and an offset below its length', async () => {
    const { ticket, endpoint } = await open();
    const post = send('POST', endpoint.uploadUrl, endpoint.token, { 'Upload-Length': `${size}` });
    const answer = answerTo(post);
    await untilStaged(ticket.id, last);
    proxy.cut();
    post.end(photo.subarray(last));
    const { status, headers } = await answer;
    expect([status, headers['upload-offset']]).to.deep.equal([201, `${last}`]);
    expect(headers['upload-expires']).to.be.a('string');
    const url = String(headers.location);
    expect((await endpoint.patch(url, last, photo.subarray(last))).status).to.equal(423);
    expect((await endpoint.head(url)).status).to.equal(423);
    proxy.restore();
    const next = await until('a PATCH gets through', async () => {
      const patched = await endpoint.patch(url, last, photo.subarray(last));
      return patched.status === 423 ? null : patched;
    });
    expectProblem(next, 409, 'offset-conflict');
    expect(next.headers['upload-offset']).to.equal(`${size}`);
    await untilCommitted(endpoint, url);
    await expectOneTransfer(ticket.id);
  });

  for (const when of ['before', 'after'] as const) {
    for (const uploadDataDuringCreation of [true, false]) {
      const how = uploadDataDuringCreation ? 'with its creation' : 'with a PATCH';
      it(`is finished by tus-js-client, sent ${how}, when the database goes ${when} its COMMIT`, async () => {
        const { ticket } = await open();
        const methods: string[] = [];
        const cut = proxy.trap(COMMIT, when);
        let asked = 0;
        const uploading = tusUpload(photo, {
          ...tusOptions(ticket),
          uploadDataDuringCreation,
          retryDelays: Array(100).fill(100),
          onBeforeRequest: (request) => void methods.push(request.getMethod()),
          onAfterResponse: (request, response) => {
            if (request.getMethod() !== 'HEAD' || response.getStatus() !== 423) return;
            asked += 1;
            if (asked === 3) proxy.restore();
          },
        });
        await cut;
        const upload = await uploading;
        expect(upload.url).to.equal(`${ticket.uploadUrl}/${(await imageOf(ticket.id)).id}`);
        expect(methods.filter((method) => method === 'POST')).to.have.lengthOf(1);
        await expectOneTransfer(ticket.id);
      });
    }
  }

  for (const forget of [false, true]) {
    const how = forget ? 'and whose connections stay silent for ever' : 'and answers again later';
    it(`survives a database that falls silent, ${how}`, async function () {
      this.timeout(90_000);
      const { ticket, endpoint } = await open();
      const url = await endpoint.begin({ size });
      // Several connections, all of which go silent.
      await Promise.all(Array.from({ length: 20 }, () => api.call('GET', '/v1/tickets')));
      const patch = send('PATCH', url, endpoint.token, { 'Upload-Offset': '0' });
      const answer = answerTo(patch);
      await untilStaged(ticket.id, last);
      proxy.freeze();
      patch.end(photo.subarray(last));
      const [patched, looked] = await Promise.all([answer, endpoint.head(url)]);
      expectProblem(patched, 423, 'upload-uncommitted');
      expect(looked.status).to.equal(423);
      proxy.restore({ forget });
      await untilCommitted(endpoint, url);
      // A request on a connection from before the silence is answered 503, until the pool has given up each such connection.
      await until(
        'everything else works too, on every connection',
        async () => {
          const answers = await Promise.all(Array.from({ length: 20 }, () => api.call('GET', '/v1/tickets')));
          return answers.every(({ status }) => status === 200);
        },
        40_000,
      );
      await expectOneTransfer(ticket.id, 40_000);
    });
  }
});
