import { once } from 'node:events';
import { Agent } from 'node:http';
import { networkInterfaces } from 'node:os';
import { expect } from 'chai';
import { v2 as cloudinary } from 'cloudinary';
import type { Fault, FaultRule } from '../../packages/sandbox/cloudinary/faults.ts';
import { jpeg, png } from '../support/images.ts';
import { credentials, md5, openUpload, type Rig, rawUpload, rejection, startRig } from './cloudinary-client.ts';

/** More than the buffers of both sides of a loopback connection hold together. */
const hugeBytes = 32 * 1024 * 1024;

describe('the faults of the sandbox Cloudinary', () => {
  let rig: Rig;
  let counter = 0;
  /** A public id no other test uses, and its only fault. */
  const strike = (fault: Fault, rule: Partial<FaultRule> = {}) => {
    counter += 1;
    const publicId = `struck/${counter}`;
    rig.sandbox.faults.add({ match: { publicId }, fault, ...rule });
    return publicId;
  };
  const entryOf = (publicId: string) => rig.sandbox.ledger.entries({ publicId, operation: 'upload' })[0];
  const ended = (publicId: string) =>
    rig.sandbox.ledger.waitFor(
      (entries) => entries.some((entry) => entry.publicId === publicId && entry.ended),
      5000,
      `the end of ${publicId}`,
    );
  const isStored = (publicId: string) =>
    cloudinary.api.resource(publicId, rig.sdk()).then(
      () => true,
      ({ error }) => (error.http_code === 404 ? false : Promise.reject(error)),
    );

  before(async () => {
    rig = await startRig();
  });
  after(() => rig[Symbol.asyncDispose]());
  afterEach(() => rig.sandbox.faults.clear());

  describe('answers', () => {
    for (const status of [400, 401, 403, 404, 408, 413, 420, 423, 429, 500, 502, 503, 504]) {
      it(`can be ${status} as Cloudinary words it, with nothing stored`, async () => {
        const publicId = strike({ kind: 'status', status, message: `Trouble ${status}`, retryAfterSeconds: 7 });
        const answer = await rawUpload(rig, publicId, png());
        expect(answer.status).to.equal(status);
        expect(JSON.parse(answer.text)).to.deep.equal({ error: { message: `Trouble ${status}` } });
        expect(answer.message.headers).to.include({ 'x-cld-error': `Trouble ${status}`, 'retry-after': '7' });
        expect(entryOf(publicId)).to.include({ answered: status, stored: false, fault: 'status', md5: md5(png()) });
        const error = await rejection(rig.upload(png(), { public_id: publicId }));
        expect(error).to.include({ http_code: status });
        rig.sandbox.faults.clear();
        expect(await isStored(publicId)).to.equal(false);
      });
    }

    it('can be a page of HTML', async () => {
      const publicId = strike({ kind: 'status', status: 502, html: true });
      const answer = await rawUpload(rig, publicId, png());
      expect(answer.message.headers['content-type']).to.equal('text/html; charset=utf-8');
      expect(answer.text).to.match(/^<html>/);
    });

    it('can be an error although the image was stored', async () => {
      const publicId = strike({ kind: 'status', status: 504, stores: true }, { times: 1 });
      expect((await rawUpload(rig, publicId, png())).status).to.equal(504);
      expect(entryOf(publicId)).to.include({ answered: 504, stored: true });
      expect(await isStored(publicId)).to.equal(true);
    });

    it('can be late', async () => {
      const publicId = strike({ kind: 'delay', ms: 200 }, { times: 1 });
      const started = performance.now();
      const upload = rawUpload(rig, publicId, png());
      const entries = await rig.sandbox.ledger.waitFor(
        (all) => all.some((entry) => entry.publicId === publicId && entry.stored),
        5000,
        'the image to be stored',
      );
      expect(entries.at(-1)).to.include({ stored: true, answered: null, ended: false });
      expect((await upload).status).to.equal(200);
      expect(performance.now() - started).to.be.at.least(195);
    });

    it('can have a wrong md5 for rightly stored bytes', async () => {
      const publicId = strike({ kind: 'wrong-etag' }, { times: 1 });
      const { etag, secure_url } = await rig.upload(png(), { public_id: publicId });
      expect(etag)
        .to.match(/^[0-9a-f]{32}$/)
        .and.not.to.equal(md5(png()));
      expect(Buffer.from(await (await fetch(secure_url)).arrayBuffer())).to.deep.equal(png());
      expect((await cloudinary.api.resource(publicId, rig.sdk())).etag).to.equal(md5(png()));
    });

    it('can come one byte at a time', async () => {
      const publicId = strike({ kind: 'dripped-answer', everyMs: 2 });
      const answer = await rawUpload(rig, publicId, png());
      expect(JSON.parse(answer.text)).to.include({ etag: md5(png()) });
      expect(answer.chunks).to.be.greaterThan(50);
    });

    it('can come from a clock that is wrong', async () => {
      const publicId = strike({ kind: 'lying-clock', offsetMs: -7_200_000 });
      const { message } = await rawUpload(rig, publicId, png());
      expect(Date.parse(message.headers.date ?? '') - Date.now()).to.be.within(-7_210_000, -7_190_000);
    });
  });

  describe('the limits of a plan', () => {
    it('are told by `usage`, and an upload above one of them is refused in the words of the real account', async () => {
      const limits = { image_max_size_bytes: 90_000, raw_max_size_bytes: 10_000, image_max_px: 2_500_000 };
      rig.sandbox.faults.add({ fault: { kind: 'media-limits', ...limits, asset_max_total_px: 5_000_000 } });
      const { media_limits } = await cloudinary.api.usage(rig.sdk());
      expect(media_limits).to.include({ ...limits, asset_max_total_px: 5_000_000 });

      const refused = async (bytes: Buffer, options = {}) => (await rejection(rig.upload(bytes, options))).message;
      expect((await rig.upload(jpeg({ bytes: 90_000 }))).bytes).to.equal(90_000);
      expect(await refused(jpeg({ bytes: 90_001 }))).to.equal(
        'File size too large. Got 90001. Maximum is 90000. Upgrade your plan to enjoy higher limits https://www.cloudinary.com/pricing/upgrades/file-limit',
      );
      expect(await refused(Buffer.alloc(10_001), { resource_type: 'raw' })).to.match(/Got 10001. Maximum is 10000/);
      expect(await refused(jpeg({ width: 2000, height: 1500 }))).to.equal(
        'Maximum image size is 2.5 Megapixels. Requested 3 Megapixels',
      );
      rig.sandbox.faults.clear();
      rig.sandbox.faults.add({ fault: { kind: 'media-limits', asset_max_total_px: 2_500_000 } });
      expect(await refused(jpeg({ width: 2000, height: 1500 }))).to.match(
        /^Maximum total number of pixels in all frames\/pages is 2/,
      );
    });

    it('are none unless set', async () => {
      const { media_limits } = await cloudinary.api.usage(rig.sdk());
      expect(media_limits.image_max_size_bytes).to.be.greaterThan(1024 ** 3);
      expect(media_limits.image_max_px).to.be.greaterThan(1e9);
      expect((await rig.upload(jpeg({ width: 20_000, height: 15_000 }))).width).to.equal(20_000);
    });

    it('are told to the account only', async () => {
      expect((await rejection(cloudinary.api.usage({ ...rig.sdk(), api_secret: 'other' }))).error).to.include({
        http_code: 401,
      });
    });
  });

  describe('copies', () => {
    it('can be cut short and say so', async () => {
      const bytes = jpeg({ bytes: 50_000 });
      const publicId = strike({ kind: 'truncated-copy', bytes: 1000, reports: 'truncated' });
      const answer = await rig.upload(bytes, { public_id: publicId });
      expect(answer).to.include({ bytes: 1000, etag: md5(bytes.subarray(0, 1000)) });
      const delivered = Buffer.from(await (await fetch(answer.secure_url)).arrayBuffer());
      expect(delivered).to.deep.equal(bytes.subarray(0, 1000));
    });

    it('can be cut short and deny it', async () => {
      const bytes = jpeg({ bytes: 50_000 });
      const publicId = strike({ kind: 'truncated-copy', bytes: 1000, reports: 'full' });
      const answer = await rig.upload(bytes, { public_id: publicId });
      expect(answer).to.include({ bytes: 50_000, etag: md5(bytes) });
      const delivered = Buffer.from(await (await fetch(answer.secure_url)).arrayBuffer());
      expect(delivered).to.deep.equal(bytes.subarray(0, 1000));
    });
  });

  describe('connections', () => {
    for (const stores of [false, true]) {
      it(`can be left without an answer, the image ${stores ? 'stored' : 'lost'}`, async () => {
        const publicId = strike({ kind: 'hang', stores }, { times: 1 });
        const upload = openUpload(rig, { public_id: publicId });
        upload.req.write(png());
        upload.end();
        let answered = false;
        upload.req.once('response', () => {
          answered = true;
        });
        await ended(publicId);
        expect(entryOf(publicId)).to.include({ md5: md5(png()), answered: null, stored: stores });
        expect(await isStored(publicId)).to.equal(stores);
        expect(answered).to.equal(false);
        upload.req.destroy();
      });
    }

    it('can take the connection and not read the image', async () => {
      const publicId = strike({ kind: 'not-reading' });
      const upload = openUpload(rig, { public_id: publicId });
      upload.req.write(jpeg({ bytes: hugeBytes }));
      upload.end();
      await ended(publicId);
      expect(entryOf(publicId)).to.include({ bytes: 0, answered: null, stored: false });
      await rawUpload(rig, 'read meanwhile', jpeg({ bytes: hugeBytes }));
      expect(upload.req.writableFinished).to.equal(false);
      upload.req.destroy();
    });

    it('can be reset at a byte of the image', async () => {
      const publicId = strike({ kind: 'reset-at-byte', byte: 123_456 });
      const upload = openUpload(rig, { public_id: publicId });
      upload.req.write(jpeg({ bytes: 1_000_000 }));
      expect((await rejection(upload.answer)).code).to.be.oneOf(['ECONNRESET', 'EPIPE']);
      await ended(publicId);
      expect(entryOf(publicId)).to.include({ bytes: 123_456, answered: null, stored: false, md5: null });
      expect(await isStored(publicId)).to.equal(false);
    });

    it('lets an image through that is shorter than the byte of the reset', async () => {
      const publicId = strike({ kind: 'reset-at-byte', byte: 123_456 });
      expect((await rawUpload(rig, publicId, png())).status).to.equal(200);
    });

    for (const [kind, stored] of [
      ['reset-after-storing', true],
      ['reset-before-storing', false],
    ] as const) {
      it(`can be reset once everything is received, ${stored ? 'after' : 'before'} it is stored`, async () => {
        const publicId = strike({ kind }, { times: 1 });
        const error = await rejection(rawUpload(rig, publicId, png()));
        // A connection that was only closed has the same code, but not from reading.
        expect(error).to.include({ code: 'ECONNRESET', syscall: 'read' });
        expect(entryOf(publicId)).to.include({ md5: md5(png()), answered: null, stored });
        expect(await isStored(publicId)).to.equal(stored);
      });
    }
  });

  describe('early answers', () => {
    const early = { kind: 'early-answer', status: 503 } as const;

    it('can be followed by reading the rest, which leaves the connection usable', async () => {
      const publicId = strike({ ...early, afterwards: 'drain' }, { times: 1 });
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const upload = openUpload(rig, { public_id: publicId }, agent);
      upload.req.write(png());
      expect((await upload.answer).status).to.equal(503);
      expect(upload.req.writableEnded, 'the body was still open').to.equal(false);
      upload.req.write(jpeg({ bytes: hugeBytes }));
      upload.end();
      await once(upload.req, 'finish');
      const again = openUpload(rig, { public_id: publicId }, agent);
      again.req.write(png());
      again.end();
      expect((await again.answer).status).to.equal(200);
      expect(again.req.reusedSocket).to.equal(true);
      agent.destroy();
    });

    it('can be followed by nothing, so that the body never gets through', async () => {
      const publicId = strike({ ...early, afterwards: 'stall' });
      // Keep-alive, for otherwise the end of the answer is the end of the connection.
      const agent = new Agent({ keepAlive: true });
      const upload = openUpload(rig, { public_id: publicId }, agent);
      upload.req.write(jpeg({ bytes: hugeBytes }));
      upload.end();
      const { status, message } = await upload.answer;
      expect([status, message.headers.connection]).to.deep.equal([503, 'keep-alive']);
      await rawUpload(rig, 'read meanwhile', jpeg({ bytes: hugeBytes }));
      expect(upload.req.writableFinished).to.equal(false);
      expect(upload.req.destroyed, 'the connection is there').to.equal(false);
      upload.req.destroy();
      agent.destroy();
    });

    it('can be followed by closing the connection', async () => {
      const publicId = strike({ ...early, afterwards: 'close' });
      const agent = new Agent({ keepAlive: true });
      const upload = openUpload(rig, { public_id: publicId }, agent);
      upload.req.write(png());
      const [socket] = await once(upload.req, 'socket');
      const closed = once(socket, 'close');
      const { status, message } = await upload.answer;
      expect([status, message.headers.connection]).to.deep.equal([503, 'close']);
      await closed;
      agent.destroy();
    });
  });

  describe('the plan', () => {
    it('strikes the attempts it names, by expression, for as many times as told, and until taken back', async () => {
      const trouble = { kind: 'status', status: 500 } as const;
      rig.sandbox.faults.add({
        name: 'second and third',
        match: { publicId: /^plan\/a/g, attempt: [2, 3] },
        fault: trouble,
      });
      rig.sandbox.faults.add({ match: { publicId: 'plan/b', attempt: 1 }, fault: trouble });
      rig.sandbox.faults.add({ match: { publicId: 'plan/c', attempt: 'every' }, times: 2, fault: trouble });
      const remove = rig.sandbox.faults.add({ match: { publicId: 'plan/d', operation: 'upload' }, fault: trouble });
      const statuses = async (publicId: string) => {
        const answers: number[] = [];
        for (let n = 0; n < 4; n += 1) answers.push((await rawUpload(rig, publicId, png())).status);
        return answers;
      };
      expect(await statuses('plan/a1')).to.deep.equal([200, 500, 500, 200]);
      expect(await statuses('plan/a2')).to.deep.equal([200, 500, 500, 200]);
      expect(await statuses('plan/b')).to.deep.equal([500, 200, 200, 200]);
      expect(await statuses('plan/c')).to.deep.equal([500, 500, 200, 200]);
      expect(await statuses('plan/d')).to.deep.equal([500, 500, 500, 500]);
      remove();
      expect(await statuses('plan/d')).to.deep.equal([200, 200, 200, 200]);
      const named = rig.sandbox.ledger.entries({ publicId: 'plan/a1' }).map(({ attempt, fault }) => [attempt, fault]);
      expect(named).to.deep.equal([
        [1, undefined],
        [2, 'second and third'],
        [3, 'second and third'],
        [4, undefined],
      ]);
    });

    it('strikes every operation', async () => {
      await rig.upload(png(), { public_id: 'plan/ops' });
      rig.sandbox.faults.add({ match: { operation: 'destroy' }, fault: { kind: 'status', status: 420 } });
      rig.sandbox.faults.add({ match: { operation: 'resource' }, fault: { kind: 'reset-before-storing' } });
      rig.sandbox.faults.add({ match: { operation: 'ping' }, fault: { kind: 'status', status: 500 } });
      rig.sandbox.faults.add({ match: { operation: 'delivery' }, fault: { kind: 'status', status: 503 } });
      expect(await rejection(rig.destroy('plan/ops'))).to.include({ http_code: 420 });
      expect((await rejection(cloudinary.api.resource('plan/ops', rig.sdk()))).code).to.equal('ECONNRESET');
      expect((await rejection(cloudinary.api.ping(rig.sdk()))).error).to.include({ http_code: 500 });
      expect((await fetch(`${rig.sandbox.url}/testcloud/image/upload/plan/ops.png`)).status).to.equal(503);
      rig.sandbox.faults.clear();
      expect(await isStored('plan/ops')).to.equal(true);
    });

    it('can be set, and the ledger read, from another process', async () => {
      const address = `${rig.sandbox.url}/_sandbox`;
      const headers = credentials();
      const put = (body: unknown) => fetch(`${address}/faults`, { method: 'PUT', headers, body: JSON.stringify(body) });
      const rule = { match: { publicId: { pattern: '^remote/' }, attempt: 1 }, fault: { kind: 'status', status: 429 } };
      expect(await (await put([rule])).json()).to.deep.equal({ rules: 1 });
      expect((await rawUpload(rig, 'remote/1', png())).status).to.equal(429);
      expect((await put([{ fault: { kind: 'no such fault' } }])).status).to.equal(400);
      expect((await put('no array')).status).to.equal(400);
      expect((await fetch(`${address}/faults`, { method: 'PUT', headers, body: '{' })).status).to.equal(400);
      expect((await put([{ fault: rule.fault, match: { publicId: { pattern: '(' } } }])).status).to.equal(400);
      expect((await rawUpload(rig, 'remote/2', png())).status, 'bad rules leave the good ones').to.equal(429);
      expect((await fetch(`${address}/faults`, { method: 'DELETE', headers })).status).to.equal(200);
      expect((await rawUpload(rig, 'remote/3', png())).status).to.equal(200);
      const { entries } = (await (await fetch(`${address}/ledger?publicId=remote%2F1`, { headers })).json()) as {
        entries: unknown;
      };
      expect(entries).to.deep.equal(rig.sandbox.ledger.entries({ publicId: 'remote/1' }));
    });
  });

  it('can be set from this machine only', async function () {
    const outside = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
    if (outside === undefined) this.skip();
    await using open = await startRig({ host: '0.0.0.0' });
    const { port } = new URL(open.sandbox.url);
    const options = { headers: credentials() };
    expect((await fetch(`http://127.0.0.1:${port}/_sandbox/ledger`, options)).status).to.equal(200);
    expect((await fetch(`http://${outside}:${port}/_sandbox/ledger`, options)).status).to.equal(403);
    expect((await fetch(`http://${outside}:${port}/`, options)).status).to.equal(200);
  });

  it('end with the sandbox, whatever is still waiting, and twice without harm', async () => {
    await using own = await startRig();
    const faults: Fault[] = [
      { kind: 'delay', ms: 600_000 },
      { kind: 'hang' },
      { kind: 'not-reading' },
      { kind: 'dripped-answer', everyMs: 600_000 },
    ];
    const uploads = faults.map((fault) => {
      own.sandbox.faults.add({ match: { publicId: fault.kind }, fault });
      return rejection(rawUpload(own, fault.kind, png()));
    });
    const half = openUpload(own, { public_id: 'half' });
    half.req.write(png());
    const stored = ['delay', 'dripped-answer'];
    await own.sandbox.ledger.waitFor(
      (all) =>
        all.filter(({ publicId, bytes }) => publicId === 'half' && bytes > 0).length === 1 &&
        all.filter((entry) => (stored.includes(entry.publicId ?? '') ? entry.stored : entry.ended)).length === 4,
      5000,
      'all to wait',
    );
    const waiting = rejection(own.sandbox.ledger.waitFor(() => false, 600_000, 'never'));
    const started = performance.now();
    await Promise.all([own.sandbox.close(), own.sandbox.close()]);
    await own.sandbox.close();
    expect(performance.now() - started).to.be.below(2000);
    expect((await waiting).message).to.match(/closed while waiting for never/);
    await Promise.all([...uploads, rejection(half.answer)]);
    expect(own.sandbox.ledger.entries({ publicId: 'half' })[0]).to.include({ ended: true, answered: null });
  });
});
