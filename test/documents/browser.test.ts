import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Page } from 'playwright-core';
import { createApi, type Json, until, untilCompleted } from '../support/client.ts';
import { startCutProxy } from '../support/cut-proxy.ts';
import { sha256Of } from '../support/digest.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { fileBlock, root } from '../support/pages.ts';
import { startBrowser } from '../web/browser.ts';

describe('the modules for browsers in the documentation', () => {
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

  /** Uploads in the page, by the documented function. */
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

/** The documented modules on a page, with the libraries as their packages bring them for browsers without a bundler. */
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
