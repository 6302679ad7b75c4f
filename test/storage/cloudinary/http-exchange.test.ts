import { type FileHandle, open } from 'node:fs/promises';
import http, { type Agent } from 'node:http';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import type { HoplaError } from '../../../src/model/errors.ts';
import { type Call, prepareExchange } from '../../../src/storage/cloudinary/http-exchange.ts';
import { createFileSender } from '../../../src/storage/file-sender.ts';
import { startScriptedServer } from '../scripted-server.ts';
import { createStaging, gif } from '../staged.ts';

const noAbort = new AbortController().signal;

// What no server can make the real SDK do is done here by a `send` of our own, over real HTTP.
describe('an exchange with Cloudinary', () => {
  const releases: (() => unknown)[] = [];
  let file: FileHandle;
  let url: string;

  beforeEach(async () => {
    const staging = await createStaging();
    releases.push(staging.remove);
    file = await open((await staging.stage(gif(8_000_000))).path);
    releases.push(() => file.close());
    const server = await startScriptedServer(({ number, res }) =>
      number === 1 ? res.writeHead(413).end() : undefined,
    );
    releases.push(server.close);
    url = server.url;
  });
  afterEach(async () => {
    for (const release of releases.splice(0).reverse()) await release();
  });

  function post(sink: PassThrough, agent: Agent): PassThrough {
    // As the SDK connects the two.
    sink.pipe(http.request(url, { method: 'POST', agent }).on('error', () => {}));
    return sink;
  }
  const exchange = (send: Call['send']) =>
    prepareExchange({ send, agent: http.globalAgent, body: (to, tell) => sendFile(file, to, tell) })({
      deadlineMs: 5000,
      signal: noAbort,
    });
  const sendFile = createFileSender(1);
  const failureOf = (send: Call['send']): Promise<HoplaError> =>
    exchange(send).then(
      () => expect.fail('it succeeded'),
      (reason) => reason,
    );

  it('ends the stream to the store when the answer comes early, and leaves the file to its owner', async () => {
    const sink = new PassThrough();
    const answer = await exchange((agent) => post(sink, agent));
    expect(answer.status).to.equal(413);
    expect(sink.destroyed).to.equal(true);
    expect((await file.read({ position: 0 })).bytesRead).to.be.greaterThan(0);
  });

  it('is a failure when the SDK throws, also when that is after it made its request', async () => {
    const error = await failureOf((agent) => {
      post(new PassThrough(), agent);
      throw new Error('no such option');
    });
    expect(error.code).to.equal('storage-unavailable');
    expect(error.message).to.contain('no such option');
  });

  it('is a failure when the SDK gives no stream', async () => {
    expect((await failureOf(() => {})).message).to.contain('no stream');
  });

  it('is a failure when the SDK says so, however often', async () => {
    const error = await failureOf((_agent, failed) => {
      setImmediate(failed);
      failed();
      return new PassThrough();
    });
    expect([error.code, error.message]).to.deep.equal(['storage-unavailable', 'Cloudinary: the request failed']);
  });

  it('is a failure when the stream to the store breaks, which harms nobody who did not ask for it', async () => {
    const unheard: unknown[] = [];
    const hear = (reason: unknown) => unheard.push(reason);
    process.on('unhandledRejection', hear);
    releases.push(() => process.off('unhandledRejection', hear));
    const sinks: PassThrough[] = [];
    const send = (agent: Agent) => {
      const sink = new PassThrough();
      sinks.push(sink);
      return post(sink, agent);
    };
    const [asked] = [0, 1].map(() => prepareExchange({ send, agent: http.globalAgent, body: Buffer.from('photo') }));
    for (const sink of sinks) sink.destroy(new Error('it broke'));
    await new Promise((resolve) => setImmediate(resolve));
    const error = await asked?.({ deadlineMs: 5000, signal: noAbort }).catch((reason) => reason);
    expect([error.code, error.message]).to.deep.equal(['storage-unavailable', 'Cloudinary: sending failed: it broke']);
    expect(unheard).to.deep.equal([]);
  });

  it('is a failure when the file cannot be read', async () => {
    await file.close();
    expect((await failureOf((agent) => post(new PassThrough(), agent))).message).to.match(/sending failed.*closed/);
  });
});
