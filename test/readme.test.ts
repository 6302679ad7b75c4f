import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Page } from 'playwright-core';
import { listSettings } from '../src/config.ts';
import { errorKinds } from '../src/model/errors.ts';
import { type Checkout, startCheckout } from './support/checkout.ts';
import { createApi, type Json, until, untilCompleted } from './support/client.ts';
import { startCutProxy } from './support/cut-proxy.ts';
import { sha256Of } from './support/digest.ts';
import { startTestGateway, type TestGateway } from './support/gateway.ts';
import { jpeg } from './support/images.ts';
import { blocksOf, fileBlock, matches, readReadme, root, section, withSection } from './support/readme.ts';
import { startBrowser } from './web/browser.ts';

describe('the README', () => {
  it('lists every setting with its default and meaning', () => {
    const rows = listSettings().map(({ name, standard, example, meaning }) =>
      row(`\`${name}\``, standard ? code(standard) : '', meaning, code(example)),
    );
    compare('README.md', withSection('settings', table(['setting', 'default', 'meaning', 'example'], rows)));
  });

  it('lists every error code with its status', () => {
    const rows = Object.entries(errorKinds).map(([name, { status, title }]) =>
      row(`\`${name}\``, isOfTransfers(name) ? '' : `${status}`, title),
    );
    compare('README.md', withSection('errors', table(['code', 'status', 'meaning'], rows)));
  });

  it('gives each upload error the status that the error table gives it', () => {
    const told = [...section('statuses').matchAll(/(\d{3}) `([a-z-]+)`/g)].map(
      ([, status, name]) => `${name} ${status}`,
    );
    const kinds = Object.entries(errorKinds).map(([name, { status }]) => `${name} ${status}`);
    expect(told).to.have.lengthOf.above(15);
    expect(kinds).to.include.members(told);
  });

  it('quotes only log messages that the code has', () => {
    const sources = globSync('src/**/*.ts', { cwd: root }).map((name) => readFileSync(join(root, name), 'utf8'));
    const quoted = [...readReadme().matchAll(/^\| [45]0 \| `(.+?)` \|/gm)].map(([, message = '']) => message);
    expect(quoted).to.have.lengthOf.above(3);
    expect(quoted.filter((message) => !sources.some((source) => source.includes(`'${message}'`)))).to.deep.equal([]);
  });

  it('links only to files and headings that are there', () => {
    const headings = [...readReadme().matchAll(/^#+ (.+)$/gm)].map(
      ([, text = '']) =>
        `#${text
          .toLowerCase()
          .replace(/[^\w -]/g, '')
          .replaceAll(' ', '-')}`,
    );
    const links = [...readReadme().matchAll(/\]\(([^):]+)\)/g)].map(([, path = '']) => path);
    expect(links).to.include('.env.example');
    expect(links.filter((path) => !headings.includes(path) && !existsSync(join(root, path)))).to.deep.equal([]);
  });
});

describe('.env.example', () => {
  it('has every setting, commented out, with its meaning and default', () => {
    const entries = listSettings().map(({ name, standard, example, meaning }) => {
      const remark = standard ? '' : '# Not set by default; for example:\n';
      return `\n# ${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}.\n${remark}#${name}=${standard || example}\n`;
    });
    const intro = '# Every setting of hopla. Copy this file to .env, and take the # off what you change.\n';
    compare('.env.example', intro + entries.join(''));
  });
});

describe('the walk through the README', () => {
  let checkout: Checkout;
  before(async function () {
    this.timeout(90_000);
    if (spawnSync('curl', ['--version']).error) this.skip();
    checkout = await startCheckout();
    await checkout.save('photo.jpg', jpeg({ width: 640, height: 480, bytes: 1_000_000, seed: 7 }));
  });
  after(() => checkout?.close());

  for (const { heading, language, name, text, output } of blocksOf(section('walk'))) {
    const [firstLine = ''] = text.split('\n');
    if (language !== 'sh') {
      it(`${heading}: has ${name}`, async () => {
        await checkout.save(name, text);
        await checkout.run(`node --check ${name}`);
      });
    } else {
      it(`${heading}: runs ${firstLine.slice(0, 60)}`, async () => {
        const printed = await checkout.run(text);
        if (output !== null) expect(matches(output, printed), printed).to.equal(true);
        // People are slower than this: what runs beside the rest has begun when the next command comes.
        const [, file] = /> (\S+) &$/m.exec(text) ?? [];
        if (file)
          await until(`${file} has its first event`, async () =>
            (await checkout.run(`cat ${file}`)).includes('data: '),
          );
      }).timeout(90_000);
    }
  }

  it('ends with the second ticket completed and nothing in staging', async () => {
    const { body } = await createApi(checkout.url, checkout.token).call('GET', '/v1/tickets');
    expect(body.items.map((ticket: Json) => ticket.description)).to.deep.equal(['from upload.mjs']);
    await untilCompleted(createApi(checkout.url, checkout.token), body.items[0].id);
    expect(await checkout.run('ls .hopla/staging')).to.equal('');
  });
});

describe('the browser parts of the README', () => {
  let gateway: TestGateway;
  let page: Page;
  const closing = new AsyncDisposableStack();
  before(async function () {
    this.timeout(90_000);
    gateway = closing.adopt(await startTestGateway(), (started) => started.close());
    const browser = closing.adopt(await startBrowser(), (started) => started.close());
    page = await browser.newPage();
    await page.goto(closing.adopt(await servePage(), (site) => site.close()).url);
  });
  after(() => closing.disposeAsync());

  for (const [what, upload] of [
    [
      'tus-js-client',
      `for (const file of files) await (await import('/upload-in-browser.mjs')).uploadPhoto(file, ticket)`,
    ],
    [
      'Uppy',
      `const uppy = (await import('/upload-with-uppy.mjs')).createUploader(ticket, files.length);
       const uploaded = new Promise((resolve) => uppy.on('complete', resolve));
       uppy.addFiles(files.map((data) => ({ name: data.name, type: data.type, data })));
       await uploaded`,
    ],
  ] as const) {
    it(`uploads with ${what} and watches with sse.js until the ticket is completed`, async () => {
      const api = createApi(gateway.url, (await gateway.createUser()).token);
      const ticket = await api.openTicket(2);
      const photos = [jpeg({ bytes: 300_000, seed: 1 }), jpeg({ bytes: 40_000, seed: 2 })];
      const seen: Json = await page.evaluate(`(async () => {
        const ticket = ${JSON.stringify(ticket)};
        const files = ${JSON.stringify(photos.map((photo) => photo.toString('base64')))}.map((text, index) =>
          new File([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))], index + '.jpg', { type: 'image/jpeg' }));
        const { watchTicket } = await import('/watch-in-browser.mjs');
        const seen = [];
        const completed = new Promise((resolve) => {
          watchTicket(ticket, (name, data) => {
            seen.push(name);
            if (name === 'ticket' && data.status === 'completed') resolve();
          });
        });
        ${upload};
        await completed;
        return seen;
      })()`);
      expect(seen[0]).to.equal('snapshot');
      expect(seen).to.include.members(['image', 'ticket']);
      const { images } = await untilCompleted(api, ticket.id);
      expect(images.map((image: Json) => image.size).sort()).to.deep.equal([300_000, 40_000]);
    });
  }

  /** Uploads in the page, by the README's own function. */
  const uploaders = {
    'tus-js-client': `Promise.all(files.map(async (file) => (await import('/upload-in-browser.mjs')).uploadPhoto(file, ticket)))`,
    Uppy: `(async () => {
      const uppy = (await import('/upload-with-uppy.mjs')).createUploader(ticket, files.length);
      const uploaded = new Promise((resolve) => uppy.on('complete', resolve));
      uppy.addFiles(files.map((data) => ({ name: data.name, type: data.type, data })));
      const { failed } = await uploaded;
      if (failed.length > 0) throw new Error(failed[0].error);
    })()`,
  };
  /** All of one name, each made a second after the one before. */
  const uploading = (upload: string, ticket: Json, photos: Buffer[]) =>
    page.evaluate(`(async () => {
      const ticket = ${JSON.stringify(ticket)};
      const files = ${JSON.stringify(photos.map((photo) => photo.toString('base64')))}.map((text, index) =>
        new File([Uint8Array.from(atob(text), (char) => char.charCodeAt(0))], 'image.jpg',
          { type: 'image/jpeg', lastModified: 1_700_000_000_000 + index * 1000 }));
      await ${upload};
    })()`);

  for (const [what, upload] of Object.entries(uploaders))
    for (const reloads of [false, true])
      it(`takes one place with ${what} when the answer to the first POST is lost${reloads ? ', and the page reloads' : ''}`, async () => {
        const photo = jpeg({ bytes: 200_000, seed: 3 });
        const { token } = await gateway.createUser();
        await using proxy = new AsyncDisposableStack();
        const lossy = proxy.adopt(await startCutProxy(gateway.url), (started) => started.close());
        const ticket = await createApi(lossy.url, token).openTicket(1);
        const lost = lossy.trap(['POST /v1/tickets/'], 'after');
        const first = uploading(upload, ticket, [photo]);
        const ended = first.catch(() => 'ended by the reload');
        await lost;
        if (reloads) {
          await page.reload();
          expect(await ended).to.equal('ended by the reload');
        }
        const api = createApi(gateway.url, token);
        await until('the place is taken', async () => (await api.ticket(ticket.id)).images.length === 1);
        lossy.restore();
        await (reloads ? uploading(upload, ticket, [photo]) : first);
        const { images } = await untilCompleted(api, ticket.id);
        expect(images).to.have.lengthOf(1);
        expect(images[0].slot).to.match(/^[0-9a-f]{64}$/);
      });

  for (const [what, upload] of Object.entries(uploaders))
    it(`keeps two photos of one name and size apart with ${what}`, async () => {
      const api = createApi(gateway.url, (await gateway.createUser()).token);
      const ticket = await api.openTicket(2);
      const photos = [jpeg({ bytes: 50_000, seed: 4 }), jpeg({ bytes: 50_000, seed: 5 })];
      await uploading(upload, ticket, photos);
      const { images } = await untilCompleted(api, ticket.id);
      expect(images.map((image: Json) => image.sha256).sort()).to.deep.equal(photos.map(sha256Of).sort());
    });
});

/** The README's modules on a page, with the libraries as their packages bring them for browsers without a bundler. */
async function servePage(): Promise<{ url: string; close(): Promise<void> }> {
  const library = (path: string) => readFileSync(join(root, 'node_modules', path), 'utf8');
  const imports = {
    'tus-js-client': '/tus.mjs',
    '@uppy/core': '/uppy-core.mjs',
    '@uppy/tus': '/uppy-tus.mjs',
    'sse.js': '/sse.mjs',
  };
  const files: Record<string, () => string> = {
    '/': () => `<!doctype html><script type="importmap">${JSON.stringify({ imports })}</script>`,
    '/tus.js': () => library('tus-js-client/dist/tus.min.js'),
    '/tus.mjs': () => `import '/tus.js'; export const { Upload } = window.tus`,
    '/uppy.mjs': () => library('uppy/dist/uppy.min.mjs'),
    '/uppy-core.mjs': () => `export { Uppy as default } from '/uppy.mjs'`,
    '/uppy-tus.mjs': () => `export { Tus as default } from '/uppy.mjs'`,
    '/sse.mjs': () => library('sse.js/lib/sse.js'),
  };
  const server = createServer((request, response) => {
    const path = request.url ?? '/';
    response.setHeader('Content-Type', path === '/' ? 'text/html' : 'text/javascript');
    response.end(files[path]?.() ?? fileBlock(path.slice(1)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Codes that an image's `error` has, and no HTTP answer. */
function isOfTransfers(name: string): boolean {
  return name.startsWith('storage-') || name === 'staged-file-lost';
}

function table(header: string[], rows: string[]): string {
  return `\n${[row(...header), row(...header.map(() => '---')), ...rows].join('\n')}\n\n`;
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** As code, with a place for the line to break after each comma. */
function code(text: string): string {
  return text
    .split(/(?<=,)/)
    .map((part) => `\`${part}\``)
    .join(' ');
}

/** Fails where a file differs from what is generated for it; with WRITE=1 it is brought up to date instead. */
function compare(file: string, text: string): void {
  const path = join(root, file);
  if (process.env.WRITE) writeFileSync(path, text);
  const current = existsSync(path) ? readFileSync(path, 'utf8') : '';
  expect(current === text, `${file} is out of date: WRITE=1 npx node test/run.ts test/readme.test.ts`).to.equal(true);
}
