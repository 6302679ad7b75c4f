import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect } from 'chai';
import { v2 as cloudinary } from 'cloudinary';
import { type SandboxCloudinary, startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { noise } from '../support/image-parts.ts';
import { imageMakers, jpeg, png } from '../support/images.ts';
import {
  account,
  credentials,
  md5,
  openUpload,
  type Rig,
  rawUpload,
  rejection,
  startRig,
} from './cloudinary-client.ts';

const photos = resolve(import.meta.dirname, '../../../shared/photos/real');
const hourMs = 3_600_000;

describe('the sandbox Cloudinary and the real SDK', () => {
  let rig: Rig;
  let skewMs = 0;
  before(async () => {
    rig = await startRig({ now: () => Date.now() + skewMs });
  });
  after(() => rig[Symbol.asyncDispose]());
  afterEach(() => {
    skewMs = 0;
  });

  const fetchBytes = async (url: string) => Buffer.from(await (await fetch(url)).arrayBuffer());
  const deliveryUrl = (path: string) => `${rig.sandbox.url}/${account.cloud_name}/image/upload/${path}`;

  describe('upload', () => {
    for (const [format, make] of Object.entries(imageMakers)) {
      it(`stores a ${format} and tells its size, format and md5`, async () => {
        const bytes = make({ width: 123, height: 45, bytes: 80_000 });
        const answer = await rig.upload(bytes, { public_id: `formats/${format}` });
        expect(answer).to.include({ format, width: 123, height: 45, bytes: 80_000, etag: md5(bytes) });
        expect(answer).to.include({ public_id: `formats/${format}`, resource_type: 'image', type: 'upload' });
        expect(await fetchBytes(answer.secure_url)).to.deep.equal(bytes);
      });
    }

    it('finds the size of a JPEG behind three megabytes of comments', async () => {
      const bytes = jpeg({ width: 4000, height: 3000, bytes: 3_000_000, padding: 'before-frame' });
      const answer = await rig.upload(bytes);
      expect(answer).to.include({ format: 'jpg', width: 4000, height: 3000, bytes: 3_000_000, etag: md5(bytes) });
    });

    it('recognises AVIF and HEIC by their brand, whether or not they can be read', async () => {
      expect(await rig.upload(heif('avif'))).to.include({ format: 'avif', width: null, height: null });
      expect(await rig.upload(heif('mif1'))).to.include({ format: 'heic', width: null, height: null });
    });

    it('finds the size of a bitmap of OS/2, of a BigTIFF, and of a TIFF behind its thumbnail', async () => {
      const large = { width: 400, height: 300 };
      expect(await rig.upload(os2Bitmap(400, 300))).to.include({ format: 'bmp', ...large });
      expect(await rig.upload(tiffOf([large], { big: true }))).to.include({ format: 'tiff', ...large });
      expect(await rig.upload(tiffOf([{ width: 40, height: 30 }, large]))).to.include({ format: 'tiff', ...large });
    });
    it('signs its answer as Cloudinary does, so that the caller can verify it', async () => {
      const { public_id, version, signature } = await rig.upload(png(), { public_id: 'signed answer' });
      const signed = `public_id=${public_id}&version=${version}${account.api_secret}`;
      expect(signature).to.equal(createHash('sha1').update(signed).digest('hex'));
    });

    it('keeps folder, tags, context and the name given instead of the file name', async () => {
      const answer = await rig.upload(png(), {
        public_id: 'b/c',
        folder: 'a',
        tags: ['one', 'two'],
        context: { escaped: 'v|2=3', plain: 'text' },
        filename_override: 'Größe 1.jpeg',
      });
      expect(answer).to.include({ public_id: 'a/b/c', asset_folder: 'a/b', display_name: 'c' });
      expect(answer.original_filename).to.equal('Größe 1');
      expect(answer.tags).to.deep.equal(['one', 'two']);
      expect(answer.context).to.deep.equal({ custom: { escaped: 'v|2=3', plain: 'text' } });
    });

    it('makes up a public id when none is given', async () => {
      const [first, second] = [await rig.upload(png()), await rig.upload(png())];
      expect(first.public_id).to.match(/^[a-z0-9]{20}$/);
      expect(second.public_id).not.to.equal(first.public_id);
    });

    it('copes with the bytes of the boundary inside the image', async () => {
      const bytes = Buffer.concat([png(), Buffer.from('\r\n--a-boundary-of-its-ow'), Buffer.from('\r\n--\r\n')]);
      const answer = await rawUpload(rig, 'boundary', bytes);
      expect(JSON.parse(answer.text)).to.include({ bytes: bytes.length, etag: md5(bytes) });
    });

    it('refuses what is no image, nothing at all, and an image that ends in its header', async () => {
      expect(await rejection(rig.upload(noise(5000, 1)))).to.include({ message: 'Invalid image file', http_code: 400 });
      expect(await rejection(rig.upload(Buffer.alloc(0)))).to.include({ message: 'Empty file', http_code: 400 });
      const cut = rig.upload(jpeg({ bytes: 90_000, padding: 'before-frame' }).subarray(0, 60_000));
      expect(await rejection(cut)).to.include({ message: 'Invalid image file' });
    });

    it('refuses a form that is broken, and lives on', async () => {
      const disposition = 'Content-Disposition: form-data';
      const bodies = {
        'the end in the middle of the file': `--b\r\n${disposition}; name="file"; filename="f"\r\n\r\nhalf`,
        'the end in the middle of another file': `--b\r\n${disposition}; name="other"; filename="f"\r\n\r\nhalf`,
        'the end in the middle of a field': `--b\r\n${disposition}; name="public_id"\r\n\r\nhalf`,
        'a field without a name': `--b\r\n${disposition}\r\n\r\nvalue\r\n--b--`,
        'no part at all': '--b--',
        nothing: '',
      };
      for (const [what, body] of Object.entries(bodies)) {
        for (const action of ['upload', 'destroy']) {
          const response = await fetch(`${rig.sandbox.url}/v1_1/${account.cloud_name}/image/${action}`, {
            method: 'POST',
            headers: { 'Content-Type': 'multipart/form-data; boundary=b' },
            body,
          });
          expect(response.status, `${what}, ${action}`).to.equal(400);
          expect(await response.json(), what).to.have.nested.property('error.message');
        }
      }
      const url = `${rig.sandbox.url}/v1_1/${account.cloud_name}/image/upload`;
      expect((await fetch(url, { method: 'POST', body: 'no form' })).status).to.equal(400);
    });

    it('takes anything as raw, and tells images from other files with auto', async () => {
      const text = await rig.upload(Buffer.from('text'), { resource_type: 'raw', public_id: 'text' });
      expect(text).to.include({ resource_type: 'raw', bytes: 4 });
      expect(await fetchBytes(text.secure_url)).to.deep.equal(Buffer.from('text'));
      expect(await rig.upload(Buffer.from('text'), { resource_type: 'auto' })).to.include({ resource_type: 'raw' });
      expect(await rig.upload(png(), { resource_type: 'auto' })).to.include({ resource_type: 'image', format: 'png' });
    });

    it('refuses a public id that Cloudinary refuses', async () => {
      for (const public_id of ['a?b', 'a&b', '/a', 'a/', 'a<b']) {
        expect(await rejection(rig.upload(png(), { public_id }))).to.include({ http_code: 400 });
      }
    });
  });

  describe('overwriting', () => {
    it('leaves an existing asset alone when asked not to overwrite, and answers with what is there', async () => {
      const [first, second] = [png({ seed: 1 }), png({ seed: 2, bytes: 3000 })];
      const stored = await rig.upload(first, { public_id: 'kept', overwrite: false });
      expect(stored).to.include({ existing: false, etag: md5(first) });
      const again = await rig.upload(second, { public_id: 'kept', overwrite: false });
      expect(again).to.include({ existing: true, etag: md5(first), bytes: first.length, version: stored.version });
      expect(await fetchBytes(again.secure_url)).to.deep.equal(first);
      const [one, two] = rig.sandbox.ledger.entries({ publicId: 'kept' });
      expect(one).to.include({ stored: true, existing: false, md5: md5(first), overwrite: false, answered: 200 });
      expect(two).to.include({ stored: false, existing: true, md5: md5(second), attempt: 2, answered: 200 });
    });

    it('replaces it when asked to, under the same asset id and a newer version', async () => {
      const [first, second] = [png({ seed: 1 }), jpeg({ seed: 2 })];
      const old = await rig.upload(first, { public_id: 'replaced' });
      const replaced = await rig.upload(second, { public_id: 'replaced', overwrite: true, invalidate: true });
      expect(replaced).to.include({ asset_id: old.asset_id, etag: md5(second), format: 'jpg' });
      expect(replaced.version).to.be.greaterThan(old.version);
      expect(await fetchBytes(replaced.secure_url)).to.deep.equal(second);
    });

    it('stores one of two uploads that run side by side and tells the other that it exists', async () => {
      const images = [jpeg({ seed: 1, bytes: 200_000 }), jpeg({ seed: 2, bytes: 200_000 })];
      const uploads = images.map((bytes) => {
        const upload = openUpload(rig, { public_id: 'raced', overwrite: 'false' });
        upload.req.write(bytes);
        return upload;
      });
      await rig.sandbox.ledger.waitFor(
        (entries) => entries.filter(({ publicId, bytes }) => publicId === 'raced' && bytes > 0).length === 2,
        5000,
        'both bodies to be under way',
      );
      for (const upload of uploads) upload.end();
      const answers = (await Promise.all(uploads.map(({ answer }) => answer))).map(({ text }) => JSON.parse(text));
      expect(answers.map(({ existing }) => existing).sort()).to.deep.equal([false, true]);
      expect(answers[0].etag).to.equal(answers[1].etag);
      expect(md5(await fetchBytes(answers[0].secure_url))).to.equal(answers[0].etag);
    });

    it('delivers the old bytes or the new, never a mixture, while overwriting', async () => {
      const images = [1, 2].map((seed) => jpeg({ seed, bytes: 300_000 }));
      await rig.upload(images[0] ?? png(), { public_id: 'turning' });
      const writing = (async () => {
        for (let round = 0; round < 10; round += 1) {
          await rig.upload(images[round % 2] ?? png(), { public_id: 'turning' });
        }
      })();
      const reading = Array.from({ length: 30 }, async () => md5(await fetchBytes(deliveryUrl('turning'))));
      expect(images.map(md5)).to.include.members([...new Set(await Promise.all(reading))]);
      await writing;
    });
  });

  describe('signatures', () => {
    it('takes every kind the SDK makes', async () => {
      for (const options of [
        { signature_algorithm: 'sha256' },
        { signature_algorithm: 'sha1' },
        { signature_version: 1 },
      ]) {
        const answer = await rig.upload(png(), { public_id: 'signed', tags: 'salt & pepper', ...options });
        expect(answer.tags).to.deep.equal(['salt & pepper']);
      }
    });

    it('does not take one field for two', async () => {
      // Version 2 exists against this: what was signed as a part of the timestamp is sent as a type of its own.
      const timestamp = `${Math.floor(Date.now() / 1000)}`;
      const signature = cloudinary.utils.api_sign_request(
        { public_id: 'smuggled', timestamp: `${timestamp}&type=private` },
        account.api_secret,
      );
      const form = new FormData();
      const sent = { public_id: 'smuggled', type: 'private', timestamp, signature };
      for (const [name, value] of Object.entries({ ...sent, api_key: account.api_key })) form.set(name, value);
      form.set('file', new Blob([png()]), 'a.png');
      const url = `${rig.sandbox.url}/v1_1/${account.cloud_name}/image/upload`;
      const response = await fetch(url, { method: 'POST', body: form });
      expect(response.status).to.equal(401);
      expect(await response.text()).to.match(/Invalid Signature/);
    });

    it('refuses a wrong secret, an unknown key, another cloud and an upload without a signature', async () => {
      const cases = [
        [
          { api_secret: 'other' },
          401,
          /^Invalid Signature [0-9a-f]{40}\. String to sign - 'public_id=x&timestamp=\d+'\.$/,
        ],
        [{ api_key: '1' }, 401, /^Unknown API key 1$/],
        [{ cloud_name: 'other' }, 401, /^Invalid cloud_name other$/],
        [{ unsigned: true, upload_preset: 'none' }, 400, /^Upload preset must be specified/],
      ] as const;
      for (const [options, http_code, message] of cases) {
        const error = await rejection(rig.upload(png(), { public_id: 'x', ...options }));
        expect(error).to.include({ http_code });
        expect(error.message).to.match(message);
      }
      const missing = await rejection(cloudinary.api.resource('x', rig.sdk()));
      expect(missing).to.have.nested.property('error.http_code', 404);
    });

    it('refuses a timestamp older than an hour by its own clock, and dates its answers by it', async () => {
      skewMs = hourMs + 60_000;
      const error = await rejection(rig.upload(png(), { public_id: 'late' }));
      expect(error.http_code).to.equal(400);
      expect(error.message).to.match(
        /^Stale request - reported time is \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 which is more than 1 hour ago$/,
      );
      const { message } = await rawUpload(rig, 'late', png());
      const skewed = Date.parse(message.headers.date ?? '') - Date.now();
      expect(skewed).to.be.within(skewMs - 10_000, skewMs + 10_000);
      skewMs = hourMs - 60_000;
      expect(await rig.upload(png(), { public_id: 'late' })).to.include({ format: 'png' });
    });
  });

  describe('destroy and the Admin API', () => {
    it('destroys an asset once', async () => {
      const { secure_url } = await rig.upload(png(), { public_id: 'x/doomed' });
      expect(await rig.destroy('x/doomed')).to.deep.equal({ result: 'ok' });
      expect(await rig.destroy('x/doomed')).to.deep.equal({ result: 'not found' });
      expect((await fetch(secure_url)).status).to.equal(404);
      const refused = await rejection(rig.destroy('x', { api_secret: 'other' }));
      expect(refused).to.include({ http_code: 401 });
    });

    it('describes a stored asset and knows when there is none', async () => {
      const stored = await rig.upload(png(), { public_id: 'x/described here' });
      const found = await cloudinary.api.resource('x/described here', rig.sdk());
      expect(found).to.include({ asset_id: stored.asset_id, bytes: stored.bytes, version: stored.version });
      const { error } = await rejection(cloudinary.api.resource('x/none', rig.sdk()));
      expect(error).to.include({ http_code: 404, message: 'Resource not found - x/none' });
    });

    it('answers a ping to its own account only', async () => {
      expect(await cloudinary.api.ping(rig.sdk())).to.include({ status: 'ok' });
      for (const wrong of [{ api_secret: 'other' }, { api_key: '1' }, { cloud_name: 'other' }]) {
        const { error } = await rejection(cloudinary.api.ping({ ...rig.sdk(), ...wrong }));
        expect(error).to.include({ http_code: 401 });
      }
    });
  });

  describe('delivery', () => {
    it('serves by name, with or without version and extension, with type, length and ETag', async () => {
      const bytes = jpeg({ bytes: 70_001 });
      await rig.upload(bytes, { public_id: 'album/a photo' });
      for (const path of [
        'album/a%20photo',
        'v1/album/a%20photo.jpg',
        'album/a%20photo.JPEG',
        'v99/album%2Fa%20photo',
      ]) {
        const response = await fetch(deliveryUrl(path));
        expect(Buffer.from(await response.arrayBuffer()), path).to.deep.equal(bytes);
        expect(response.headers.get('content-type')).to.equal('image/jpeg');
        expect(response.headers.get('etag')).to.equal(`"${md5(bytes)}"`);
        const head = await fetch(deliveryUrl(path), { method: 'HEAD' });
        expect(head.headers.get('content-length')).to.equal('70001');
      }
      expect((await fetch(deliveryUrl('album/a%20photo.png'))).status, 'another format').to.equal(404);
    });

    it('serves a public id that itself ends like a file name', async () => {
      const answer = await rig.upload(png(), { public_id: 'photo.jpg' });
      expect(answer.secure_url).to.match(/photo\.jpg\.png$/);
      expect(await fetchBytes(answer.secure_url)).to.deep.equal(png());
      await rig.upload(jpeg(), { public_id: 'photo' });
      expect(await fetchBytes(deliveryUrl('photo.jpg'))).to.deep.equal(png());
    });

    it('serves nothing but assets', async () => {
      await writeFile(join(rig.directory, 'secret'), 'not for the public');
      const up = '../../../../secret';
      for (const path of [up, encodeURIComponent(up), up.replaceAll('.', '%2e'), '%2Fetc%2Fpasswd', 'a%00b', '%ff']) {
        // Not fetch, which tidies the path before it sends it.
        const { port } = new URL(rig.sandbox.url);
        const req = request({ port, path: `/${account.cloud_name}/image/upload/${path}`, agent: false }).end();
        const [response] = (await once(req, 'response')) as [IncomingMessage];
        expect(response.statusCode, path).to.be.oneOf([400, 404]);
        expect((await response.toArray()).join(''), path).not.to.include('not for the public');
      }
    });

    it('lists what is stored on a page, names escaped, for those who have the secret', async () => {
      await rig.upload(png(), { public_id: `quote"'s` });
      const page = await (await fetch(rig.sandbox.url, { headers: credentials() })).text();
      expect(page).to.include('quote&#34;&#39;s</a> 16 × 16 png').and.not.to.include(`quote"'s`);
    });
  });

  describe('doors', () => {
    it('are closed for those without the secret: nothing is listed, told or set', async () => {
      await rig.upload(png(), { public_id: 'behind/the/door' });
      const wrong = { ...credentials({ ...account, api_secret: 'guessed' }) };
      for (const headers of [{}, wrong]) {
        for (const [method, path] of [
          ['GET', '/'],
          ['GET', '/_sandbox/ledger'],
          ['PUT', '/_sandbox/faults'],
          ['DELETE', '/_sandbox/faults'],
          ['GET', `/v1_1/${account.cloud_name}/usage`],
          ['GET', `/v1_1/${account.cloud_name}/resources/image/upload/behind%2Fthe%2Fdoor`],
        ] as const) {
          const answer = await fetch(rig.sandbox.url + path, { method, headers });
          expect(answer.status, `${method} ${path}`).to.equal(401);
          expect(await answer.text(), path).not.to.include('behind');
        }
      }
      expect((await fetch(rig.sandbox.url)).headers.get('www-authenticate')).to.match(/^Basic /);
    });

    it('are closed for pages that lead a name of their own here, and for pages that send something', async () => {
      const { secure_url } = await rig.upload(png(), { public_id: 'not/for/them' });
      const { port, pathname } = new URL(secure_url);
      const ask = async (path: string, headers: Record<string, string>, method = 'GET') => {
        const req = request({ port, path, method, headers, agent: false }).end();
        const [response] = (await once(req, 'response')) as [IncomingMessage];
        response.resume();
        return response.statusCode;
      };
      const names = [`evil.example:${port}`, 'localhost.evil.example', '127.0.0.1.nip.io'];
      for (const host of names) expect(await ask(pathname, { host }), host).to.equal(421);
      for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
        expect(await ask(pathname, { host }), host).to.equal(200);
      const upload = `/v1_1/${account.cloud_name}/image/upload`;
      expect(await ask(upload, { origin: 'http://evil.example' }, 'POST')).to.equal(403);
    });

    it('have a key of their own per folder, which a restart keeps, and which nobody else can read', async () => {
      await using closing = new AsyncDisposableStack();
      const folder = async () => {
        const directory = await mkdtemp(join(tmpdir(), 'sandbox-cloudinary-'));
        closing.defer(() => rm(directory, { recursive: true, force: true }));
        await chmod(directory, 0o755);
        return directory;
      };
      const secretOf = ({ cloudinaryUrl }: SandboxCloudinary) => new URL(cloudinaryUrl).password;
      const directory = await folder();
      const first = await startSandboxCloudinary({ directory });
      await first.close();
      const again = closing.adopt(await startSandboxCloudinary({ directory }), (server) => server.close());
      const other = closing.adopt(await startSandboxCloudinary({ directory: await folder() }), (server) =>
        server.close(),
      );
      expect(secretOf(first))
        .to.match(/^[0-9a-f]{48}$/)
        .and.to.equal(secretOf(again))
        .and.not.to.equal(secretOf(other));
      expect(again.url, 'addresses of stored images stay').to.equal(first.url);
      expect((await stat(directory)).mode & 0o777).to.equal(0o700);
      expect((await stat(join(directory, 'account.json'))).mode & 0o777).to.equal(0o600);
    });

    it('open at another port when the last one is taken, and say so', async () => {
      await using own = await startRig();
      const { port } = new URL(own.sandbox.url);
      await own.sandbox.close();
      const squatter = createServer().listen(Number(port), '127.0.0.1');
      await once(squatter, 'listening');
      try {
        await own.restart();
        expect(own.sandbox.moved).to.equal(true);
        expect(new URL(own.sandbox.url).port).not.to.equal(port);
      } finally {
        squatter.close();
      }
    });
  });

  describe('on disk', () => {
    it('keeps assets over a restart and forgets what was no asset yet', async () => {
      await using own = await startRig();
      const bytes = jpeg({ bytes: 50_000 });
      const { version } = await own.upload(bytes, { public_id: 'stays' });
      await own.upload(png(), { public_id: 'goes' });
      await own.destroy('goes');
      await writeFile(join(own.directory, 'tmp', 'half'), 'half');
      await writeFile(join(own.directory, 'blobs', 'unnamed'), 'blob without a record');
      await own.restart();
      const found = await cloudinary.api.resource('stays', own.sdk());
      expect(found).to.include({ etag: md5(bytes), version });
      expect(await fetchBytes(found.secure_url)).to.deep.equal(bytes);
      expect(await readdir(join(own.directory, 'tmp'))).to.deep.equal([]);
      expect(await readdir(join(own.directory, 'blobs'))).to.have.length(1);
    });

    it('leaves no file behind after refusals, overwriting, broken uploads and destroying', async () => {
      await using own = await startRig();
      await own.upload(png({ seed: 1 }), { public_id: 'one' });
      await own.upload(png({ seed: 2 }), { public_id: 'one' });
      await own.upload(png({ seed: 3 }), { public_id: 'one', overwrite: false });
      await own.upload(png(), { public_id: 'two' });
      await own.destroy('two');
      await rejection(own.upload(noise(5000, 1)));
      const broken = openUpload(own, { public_id: 'broken' });
      broken.req.write(png());
      await own.sandbox.ledger.waitFor((all) => all.at(-1)?.publicId === 'broken', 5000, 'the upload to begin');
      broken.req.destroy();
      await own.sandbox.ledger.waitFor((all) => all.at(-1)?.ended === true, 5000, 'the upload to break');
      expect(await readdir(join(own.directory, 'blobs'))).to.have.length(1);
      expect(await readdir(join(own.directory, 'records'))).to.have.length(1);
      await own.sandbox.close();
      expect(await readdir(join(own.directory, 'tmp'))).to.deep.equal([]);
    });

    it('shows no half asset after kill -9 in the middle of an upload', async () => {
      await using own = await startRig();
      await own.upload(png({ seed: 1 }), { public_id: 'old' });
      await own.sandbox.close();
      const server = resolve(import.meta.dirname, '../../packages/sandbox/cloudinary/server.ts');
      const options = {
        directory: own.directory,
        cloudName: account.cloud_name,
        apiKey: account.api_key,
        apiSecret: account.api_secret,
      };
      const script = `import { startSandboxCloudinary } from ${JSON.stringify(server)};
        const sandbox = await startSandboxCloudinary(${JSON.stringify(options)});
        console.log(sandbox.url);
        await sandbox.ledger.waitFor((entries) => entries.filter(({ bytes }) => bytes >= 60000).length === 2, 20000);
        process.kill(process.pid, 'SIGKILL');`;
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      const [line] = await once(child.stdout, 'data');
      const killed = { ...own, sandbox: { ...own.sandbox, url: `${line}`.trim() } };
      for (const public_id of ['old', 'new']) {
        openUpload(killed, { public_id }).req.write(jpeg({ bytes: 90_000 }).subarray(0, 70_000));
      }
      expect((await exited)[1]).to.equal('SIGKILL');
      await own.restart();
      expect(await cloudinary.api.resource('old', own.sdk())).to.include({ etag: md5(png({ seed: 1 })) });
      expect((await rejection(cloudinary.api.resource('new', own.sdk()))).error).to.include({ http_code: 404 });
      expect(await readdir(join(own.directory, 'tmp'))).to.deep.equal([]);
    });

    it('writes every completed call to the ledger file, unless told not to', async () => {
      await using own = await startRig();
      const { secure_url } = await own.upload(png(), { public_id: 'noted' });
      await fetchBytes(secure_url);
      await own.destroy('noted');
      const lines = (await readFile(join(own.directory, 'ledger.jsonl'), 'utf8')).trim().split('\n');
      expect(lines.map((text) => JSON.parse(text))).to.deep.equal(own.sandbox.ledger.entries());
      expect(own.sandbox.ledger.entries().map(({ operation }) => operation)).to.deep.equal(['upload', 'destroy']);
      await using silent = await startRig({ ledgerFile: false });
      await silent.upload(png());
      expect(existsSync(join(silent.directory, 'ledger.jsonl'))).to.equal(false);
    });

    it('names what it waited for in vain', async () => {
      const waiting = rig.sandbox.ledger.waitFor(() => false, 5, 'a miracle');
      expect((await rejection(waiting)).message).to.equal('Waited 5 ms in vain for a miracle');
    });
  });

  describe('photos of real cameras', () => {
    before(function () {
      if (!existsSync(photos)) this.skip();
    });

    it('are as large as a viewer shows them', async () => {
      const sizes = {
        'iphone.heic': [3024, 4032],
        '../cases/L_8__29x100.heif': [29, 100],
        '../cases/kimono.crop.avif': [385, 330],
        '../cases/money-256-(os2).bmp': [455, 341],
      };
      for (const [name, [width, height]] of Object.entries(sizes))
        expect(await rig.upload(await readFile(join(photos, name))), name).to.include({ width, height });
    });

    it('are recognised and come back byte for byte', async () => {
      const extensions: Record<string, string> = { '.jpg': 'jpg', '.heic': 'heic', '.avif': 'avif', '.tiff': 'tiff' };
      for (const name of await readdir(photos)) {
        const bytes = await readFile(join(photos, name));
        const answer = await rig.upload(bytes, { public_id: `photos/${name}` });
        expect(answer.format, name).to.equal(extensions[name.slice(name.lastIndexOf('.'))]);
        expect(answer.width * answer.height, name).to.be.greaterThan(200_000);
        expect(await fetchBytes(answer.secure_url)).to.deep.equal(bytes);
      }
    });
  });
});

/** The boxes with which a HEIF file begins, and no picture. */
function heif(brand: string): Buffer {
  return Buffer.concat([Buffer.from(`\0\0\0\x18ftyp${brand}\0\0\0\0${brand}miaf`, 'latin1'), noise(1000, 1)]);
}

const le16 = (value: number) => [value & 0xff, value >> 8];
const le32 = (value: number) => [...le16(value & 0xffff), ...le16(value >>> 16)];

/** A bitmap of OS/2, whose header has 16 bits for each side. */
function os2Bitmap(width: number, height: number): Buffer {
  const pixels = Buffer.alloc(Math.ceil((width * 3) / 4) * 4 * height);
  const head = [...le32(26 + pixels.length), ...le32(0), ...le32(26), ...le32(12)];
  return Buffer.concat([
    Buffer.from('BM'),
    Buffer.of(...head, ...le16(width), ...le16(height), ...le16(1), ...le16(24)),
    pixels,
  ]);
}

/** A grey TIFF with pages of these sizes; a BigTIFF has 64 bits for each offset and count. */
function tiffOf(pages: { width: number; height: number }[], { big = false } = {}): Buffer {
  const long = (value: number) => (big ? [...le32(value), ...le32(0)] : le32(value));
  const parts = [Buffer.of(0x49, 0x49, big ? 43 : 42, 0, ...(big ? [8, 0, 0, 0] : []), ...long(big ? 16 : 8))];
  let at = big ? 16 : 8;
  for (const [index, { width, height }] of pages.entries()) {
    const directoryBytes = big ? 8 + 9 * 20 + 8 : 2 + 9 * 12 + 4;
    const pixels = at + directoryBytes;
    const tags = {
      256: width,
      257: height,
      258: 8,
      259: 1,
      262: 1,
      273: pixels,
      277: 1,
      278: height,
      279: width * height,
    };
    const entries = Object.entries(tags).flatMap(([tag, value]) => [
      ...le16(Number(tag)),
      ...le16(4),
      ...long(1),
      ...long(value),
    ]);
    at = pixels + width * height;
    const next = index + 1 < pages.length ? at : 0;
    parts.push(Buffer.of(...(big ? long(9) : le16(9)), ...entries, ...long(next)), Buffer.alloc(width * height));
  }
  return Buffer.concat(parts);
}
