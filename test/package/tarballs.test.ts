import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { SandboxFile } from '../../src/demo/sandbox-file.ts';
import { collect } from '../support/checkout.ts';
import { createApi, type Json, until, untilCompleted } from '../support/client.ts';
import { createTestDatabase } from '../support/database.ts';
import { jpeg } from '../support/images.ts';
import { root } from '../support/pages.ts';
import { prepareTemplate } from '../support/template.ts';
import { type Installation, install, packed } from './installation.ts';

/** The first start makes a database. */
const START_MS = 60_000;

const CLIENT = 'packages/client';
/** The limit of the client, which is for browsers, without tus-js-client and sse.js. */
const MAX_CLIENT_BYTES = 100 * 1024;

describe('an empty folder with the tarballs installed', function () {
  this.timeout(180_000);
  const closing = new AsyncDisposableStack();
  const hasClient = existsSync(join(root, CLIENT, 'package.json'));
  const client = hasClient ? it : it.skip;
  let installation: Installation;
  let server: ChildProcess;
  let printed: () => string;
  let sandbox: SandboxFile;
  before(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'hopla-tarballs-'));
    closing.defer(() => rm(folder, { recursive: true }));
    const tarballs = [await packed('.', folder), ...(hasClient ? [await packed(CLIENT, folder)] : [])];
    installation = closing.adopt(await install(tarballs), (made) => made.close());
  });
  after(() => closing.disposeAsync());

  const statusOf = async (path: string): Promise<number> => {
    const answer = await fetch(new URL(path, sandbox.url));
    // An answer that is not read to its end keeps its connection.
    await answer.arrayBuffer();
    return answer.status;
  };

  it('has JavaScript, declarations and source maps, and no source, test or tool', async () => {
    const paths = [...(await installation.contentsOf('hopla')).keys()];
    expect(paths).to.include.members(['bin/hopla', 'dist/src/main.js', 'dist/src/main.d.ts', 'dist/src/main.js.map']);
    expect(paths.filter((path) => /^(test|tools|bench|examples|docs|\.ci)\//.test(path))).to.deep.equal([]);
    expect(paths.filter((path) => /(?<!\.d)\.tsx?$/.test(path))).to.deep.equal([]);
  });

  it('says in a line which Node hopla needs, and ends with 1, where node is older', async function () {
    const folder = await folderOfOlderNode(installation);
    if (folder === null) this.skip();
    const failure = await installation.run('node_modules/.bin/hopla', [], { PATH: `${folder}:/usr/bin:/bin` }).then(
      () => null,
      ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
    );
    expect(failure?.code).to.equal(1);
    expect(failure?.stderr).to.match(/^hopla needs Node 24 or newer, and node here is v\d+\.\d+\.\d+: get it .+\n$/);
  });

  it('runs a gateway with a database and a store of its own', async () => {
    server = installation.start('npx', ['hopla'], { PORT: '0' });
    printed = collect(server.stdout);
    const ready = until('the gateway says how to reach it', () => installation.has('.hopla/sandbox.json'), START_MS);
    const ended = once(server, 'exit').then(([code]) => Promise.reject(new Error(`npx hopla ended with ${code}`)));
    ended.catch(() => {});
    await Promise.race([ready, ended]);
    sandbox = JSON.parse(await installation.read('.hopla/sandbox.json')) as SandboxFile;
    await until('the gateway is ready', async () => (await statusOf('/readyz')) === 200);
  });

  it('serves the page, the panel and the API documents with every file they name', async () => {
    for (const path of ['/', '/admin/sign-in', '/docs', '/problems']) {
      const page = await fetch(new URL(path, sandbox.url));
      expect(page.status, path).to.equal(200);
      const html = await page.text();
      const named = [...html.matchAll(/(?:src|href)="(\/[^"#]*)"|"(\/assets\/[^"]+)"/g)].map(
        ([, a, b]) => a ?? b ?? '',
      );
      for (const file of new Set(named)) expect(await statusOf(file), file).to.equal(200);
    }
  });

  it('opens a ticket and delivers a photo that came by HTTP', async () => {
    const api = createApi(sandbox.url, sandbox.token);
    const ticket = await api.openTicket(1);
    const photo = jpeg({ width: 640, height: 480, bytes: 300_000 });
    const answer = await fetch(ticket.uploadUrl, {
      method: 'POST',
      body: new Uint8Array(photo),
      headers: {
        Authorization: `Bearer ${ticket.uploadToken}`,
        'Tus-Resumable': '1.0.0',
        'Upload-Length': `${photo.length}`,
        'Content-Type': 'application/offset+octet-stream',
      },
    });
    await answer.arrayBuffer();
    expect(answer.status).to.equal(201);
    const { images } = await untilCompleted(api, ticket.id);
    expect(images[0]).to.include({ size: 300_000, width: 640, height: 480 });
  });

  it('uploads photos with `npx hopla upload`', async () => {
    await installation.save('photos/a.jpg', jpeg({ bytes: 50_000, seed: 1 }));
    await installation.save('photos/b.jpg', jpeg({ bytes: 60_000, seed: 2 }));
    const printed = await installation.run('npx', ['hopla', 'upload', '--json', 'photos/a.jpg', 'photos/b.jpg']);
    const { images } = JSON.parse(printed) as Json;
    expect(images.map((image: Json) => image.status)).to.deep.equal(['stored', 'stored']);
    const stored = await Promise.all(images.map(async (image: Json) => (await fetch(image.url)).arrayBuffer()));
    expect(stored.map((bytes) => bytes.byteLength)).to.deep.equal([50_000, 60_000]);
  });

  it('shows with `npx hopla admin` what was uploaded', async () => {
    const printed = await installation.run('npx', ['hopla', 'admin', 'tickets', 'list', '--json']);
    const { items } = JSON.parse(printed) as Json;
    expect(items.map((ticket: Json) => [ticket.status, ticket.counts.stored])).to.deep.equal([
      ['completed', 2],
      ['completed', 1],
    ]);
  });

  client('has a hopla-client that is small, has built modules alone, and needs nothing of the server', async () => {
    const contents = await installation.contentsOf('hopla-client');
    expect([...contents.keys()].filter((path) => /(?<!\.d)\.tsx?$/.test(path))).to.deep.equal([]);
    expect([...contents.keys()]).to.include.members(['dist/client.js', 'dist/client.d.ts']);
    expect([...contents.values()].reduce((sum, bytes) => sum + bytes, 0)).to.be.below(MAX_CLIENT_BYTES);
    const manifest = JSON.parse(await installation.read('node_modules/hopla-client/package.json')) as Json;
    expect(Object.keys(manifest.dependencies).sort()).to.deep.equal(['sse.js', 'tus-js-client']);
  });

  client(
    'has the types of hopla-client in an empty TypeScript project, and refuses what is none of its calls',
    async () => {
      const program = (call: string) => `import { createClient } from 'hopla-client';
      const client = createClient({ url: 'http://127.0.0.1', token: '' });
      export const opened = await client.${call};`;
      await installation.save('typed/right.ts', program('openTicket({ images: 1 })'));
      await installation.save('typed/wrong.ts', program('openTicket({ pictures: 1 })'));
      const compiler = join(root, 'node_modules/.bin/tsc');
      const options = [
        '--ignoreConfig',
        '--noEmit',
        '--strict',
        '--types',
        '',
        '--lib',
        'es2024,dom,dom.asynciterable',
      ];
      for (const modules of [
        ['--module', 'nodenext'],
        ['--module', 'esnext', '--moduleResolution', 'bundler'],
      ]) {
        const check = (file: string) =>
          installation.run(compiler, [...options, ...modules, '--target', 'es2024', file]).then(
            () => 'accepted',
            ({ stdout }: { stdout: string }) => stdout,
          );
        expect(await check('typed/right.ts')).to.equal('accepted');
        expect(await check('typed/wrong.ts')).to.include("'pictures' does not exist in type");
      }
    },
  );

  client('uploads a photo with hopla-client in Node, and sees it delivered', async () => {
    await installation.save('photo.jpg', jpeg({ bytes: 70_000, seed: 3 }));
    await installation.save(
      'upload.js',
      `import { readFile } from 'node:fs/promises';
      import { createClient } from 'hopla-client';
      const client = createClient({ url: ${JSON.stringify(sandbox.url)}, token: ${JSON.stringify(sandbox.token)} });
      const ticket = await client.openTicket({ images: 1 });
      await client.upload(ticket, [{ slot: 'a', data: await readFile('photo.jpg') }]);
      const { images } = await client.delivered(ticket);
      console.log(JSON.stringify(images));`,
    );
    const [image] = JSON.parse(await installation.run('node', ['upload.js'])) as Json[];
    expect(image).to.include({ status: 'stored', size: 70_000, slot: 'a' });
  });

  it('takes a database that a checkout made, and has nothing to migrate there', async () => {
    const database = closing.adopt(await createTestDatabase(prepareTemplate), (made) => made.drop());
    const printed = await installation.run('npx', ['hopla', 'migrate'], { DATABASE_URL: database.databaseUrl });
    expect(printed).to.equal('the tables are up to date\n');
  });

  it('ends with all it had started on Ctrl-C, and had greeted with commands that work in this folder', async () => {
    const pidFile = (await installation.run('find', ['.hopla/postgres', '-name', 'postmaster.pid'])).trim();
    expect(pidFile).to.match(/postmaster\.pid$/);
    const ended = once(server, 'exit');
    process.kill(-(server.pid ?? 0), 'SIGINT');
    await ended;
    expect(printed()).to.include('npx hopla upload *.jpg').and.include('"msg":"stopped"');
    expect(installation.has(pidFile), 'the database server has ended').to.equal(false);
  });
});

/** The folder of a `node` below version 24 on this machine, or null. */
async function folderOfOlderNode({ run }: Installation): Promise<string | null> {
  for (const folder of ['/usr/bin', '/usr/local/bin']) {
    const version = await run(join(folder, 'node'), ['--version']).catch(() => null);
    if (version !== null && Number(/^v(\d+)/.exec(version)?.[1]) < 24) return folder;
  }
  return null;
}
