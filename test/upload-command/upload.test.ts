import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { findDestination } from '../../src/upload-command/destination.ts';
import { findPhotos } from '../../src/upload-command/photos.ts';
import { type Json, until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
type Ended = { code: number | null; stdout: string; stderr: string };

describe('hopla upload', () => {
  const { gateway, api } = useGateway();
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-upload-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  const file = async (name: string, content: Buffer) => {
    await writeFile(join(directory, name), content);
    return join(directory, name);
  };
  const photo = (name: string, bytes = 30_000, seed = bytes) => file(name, jpeg({ bytes, seed }));
  const start = (args: string[], env: Record<string, string> = {}) => {
    const child = spawn(process.execPath, [main, 'upload', ...args], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        XDG_STATE_HOME: directory,
        HOPLA_URL: gateway.url,
        HOPLA_TOKEN: api.token,
        ...env,
      },
    });
    const ended = Promise.all([
      text(child.stdout),
      text(child.stderr),
      new Promise<number | null>((resolve) => child.on('close', resolve)),
    ]).then(([stdout, stderr, code]): Ended => ({ code, stdout, stderr }));
    return { child, ended };
  };
  const run = (args: string[], env?: Record<string, string>) => start(args, env).ended;
  const unfinished = () => readdir(join(directory, 'hopla', 'uploads'));

  it('uploads, waits for the delivery and prints the addresses', async () => {
    const paths = [await photo('a.jpg', 200_000), await photo('b.jpg'), await photo('ç d.jpg', 40_000)];
    const { code, stdout, stderr } = await run(['--description', 'from a terminal', ...paths]);
    expect(code, stderr).to.equal(0);
    const urls = stdout.trimEnd().split('\n');
    expect(urls).to.have.lengthOf(3);
    const sizes = await Promise.all(urls.map(async (url) => (await (await fetch(url)).arrayBuffer()).byteLength));
    expect(sizes).to.deep.equal([200_000, 30_000, 40_000]);
    expect(stderr).to.match(/^ticket [\w-]+: 3 photos, 270 kB\n/);
    for (const [index, name] of ['a.jpg', 'b.jpg', 'ç d.jpg'].entries())
      expect(stderr).to.include(`✔ ${name}  ${urls[index]}\n`);
    expect(stderr).to.not.include('\x1b');
    const { body } = await api.call('GET', '/v1/tickets?limit=1');
    expect(body.items[0]).to.include({ description: 'from a terminal', status: 'completed' });
    expect(await unfinished()).to.deep.equal([]);
  });

  it('says why a file is refused, delivers the others, and ends with 1', async () => {
    const notes = await file('notes.txt', Buffer.from('no photo at all, just some text that was chosen by mistake'));
    const { code, stdout, stderr } = await run(['--json', notes, await photo('good.jpg', 31_000)]);
    expect(code, stderr).to.equal(1);
    const { images } = JSON.parse(stdout) as Json;
    expect(images.map((image: Json) => image.status)).to.deep.equal(['refused', 'stored']);
    expect(images[0]).to.deep.include({ file: notes, url: null });
    expect(images[0].error.code).to.equal('unsupported-image');
    expect((await fetch(images[1].url)).status).to.equal(200);
    expect(stderr).to.include('✖ notes.txt  refused: ').and.include('(unsupported-image)\n');
  });

  describe('gives no orders to the terminal', () => {
    const nasty = 'a\x1b]0;owned\x07b\x9b2Jc\u202egnp';
    const shown = 'a\\u001b]0;owned\\u0007b\\u009b2Jc\\u202egnp';
    const expectHarmless = (text: string) => expect(text).to.match(/^[^\p{Cc}\p{Cf}\n]*(\n[^\p{Cc}\p{Cf}\n]*)*$/u);

    it('whatever a file is called', async () => {
      const { code, stdout, stderr } = await run([await photo(`${nasty}.jpg`, 34_000)]);
      expect(code, stderr).to.equal(0);
      expect(stderr).to.include(`✔ ${shown}.jpg  http`);
      expectHarmless(stdout + stderr);
      const missing = await run([join(directory, `no\nerror: ${nasty}`), `--${nasty}`]);
      expect(missing.code).to.equal(2);
      expectHarmless(missing.stderr);
      const other = await run([join(directory, `no\nerror: ${nasty}`)]);
      expect(other.stderr.trimEnd().split('\n'), 'one problem, one line').to.have.lengthOf(1);
      expect(other.stderr).to.include(shown);
      expectHarmless(other.stderr);
    });

    it('whatever a server says', async () => {
      const problem = JSON.stringify({ code: nasty, title: nasty, detail: nasty, status: 403 });
      const server = createServer((_request, response) => {
        response.writeHead(403, { 'Content-Type': 'application/problem+json' }).end(problem);
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const { code, stderr } = await run([await photo('said.jpg', 35_000)], { HOPLA_URL: `http://127.0.0.1:${port}` });
      server.close();
      expect(code).to.equal(1);
      expect(stderr).to.equal(`error: ${shown}: ${shown}\n`);
    });

    it('whatever the arguments and settings are', async () => {
      for (const args of [[nasty], ['config', `--${nasty}`], ['config'], ['config', '--json'], ['admin', nasty]]) {
        const child = spawn(process.execPath, [main, ...args], {
          cwd: directory,
          stdio: ['ignore', 'pipe', 'pipe'],
          env: { PATH: process.env.PATH, DATA_DIR: `./${nasty}` },
        });
        const told = (await Promise.all([text(child.stdout), text(child.stderr)])).join('');
        expect(told, args.join(' ')).to.include(shown);
        expectHarmless(told);
      }
    });
  });

  it('goes on with the same ticket after an interruption, and sends nothing twice', async () => {
    // Slow enough to be caught in the middle: the disk's answer to the second photo waits behind its size.
    const paths = [await photo('first.jpg', 32_000), await photo('large.jpg', 40_000_000)];
    const { child, ended } = start(['--concurrency', '1', ...paths]);
    const begun = await until('the large one is on its way', async () => {
      const { body } = await api.call('GET', '/v1/tickets?limit=1&status=uploading');
      const [ticket] = body.items;
      if (!ticket) return null;
      const { images } = await api.ticket(ticket.id);
      return images.find((image: Json) => image.size === 40_000_000 && image.offset > 0) && ticket;
    });
    interrupt(child);
    const interrupted = await ended;
    expect(interrupted).to.deep.include({ code: 130, stdout: '' });
    expect(interrupted.stderr).to.include('interrupted: run it again to go on');
    expect(await unfinished()).to.have.lengthOf(2);

    const { code, stdout, stderr } = await run(paths.toReversed());
    expect(code, stderr).to.equal(0);
    expect(stderr).to.include(`ticket ${begun.id}: 2 photos, 40.0 MB, going on with an earlier run`);
    expect(stdout.trimEnd().split('\n')).to.have.lengthOf(2);
    const detail = await api.ticket(begun.id);
    expect(detail.status).to.equal('completed');
    expect(detail.images).to.have.lengthOf(2);
    expect(await unfinished()).to.have.lengthOf(1);
  });

  it('opens a new ticket where the time of the earlier one ran out', async () => {
    const notes = join(directory, 'notes.txt');
    const first = (await run(['--json', notes])).stdout;
    const { ticketId } = JSON.parse(first) as Json;
    await gateway.db('tickets').where({ id: ticketId }).update({ expires_at: new Date(), expired: true });
    expect(JSON.parse((await run(['--json', notes])).stdout).ticketId).to.not.equal(ticketId);
  });

  it('finds the sandbox by its file, and gives its token to nobody else', async () => {
    await mkdir(join(directory, 'data'));
    await file('data/sandbox.json', Buffer.from(JSON.stringify({ url: gateway.url, token: api.token })));
    const env = { HOPLA_URL: '', HOPLA_TOKEN: '', DATA_DIR: 'data' };
    expect(await run([await photo('sandbox.jpg', 33_000)], env)).to.deep.include({ code: 0 });
    const sandbox = join(directory, 'data/sandbox.json');
    const elsewhere = await findDestination({ url: 'http://127.0.0.1:9' }, sandbox).catch((error) => error);
    expect(elsewhere.message).to.equal('A user token is needed: --token or HOPLA_TOKEN.');
    expect(await findDestination({ url: `${gateway.url}/` }, sandbox)).to.include({ token: api.token });
  });

  it('ends with 2 where it is not understood, and does nothing', async () => {
    const before = (await api.call('GET', '/v1/tickets')).body.items.length;
    const { code, stdout, stderr } = await run(['no-such.jpg', '.']);
    expect(stderr).to.equal('error: no-such.jpg: no such file or directory\nerror: .: not a file\n');
    expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
    expect(await run(['--concurrency', '0', 'a.jpg'])).to.include({ code: 2, stdout: '' });
    expect((await api.call('GET', '/v1/tickets')).body.items).to.have.lengthOf(before);
  });

  it('ends with 1 where the token is wrong', async () => {
    const { code, stderr } = await run(['--token', 'hop_wrong', 'a.jpg']);
    expect(code).to.equal(1);
    expect(stderr).to.match(/^error: unauthorized: /);
  });

  it('takes a file that has changed since for another one', async () => {
    const path = await photo('changed.jpg', 34_000);
    const [first] = await findPhotos([path, path]);
    await utimes(path, 1, 1);
    const [second] = await findPhotos([path]);
    expect(second?.slot)
      .to.match(/^\w{32}$/)
      .and.not.equal(first?.slot);
  });
});

function interrupt(child: ChildProcess): void {
  child.kill('SIGINT');
}
