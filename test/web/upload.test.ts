import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { type Api, createApi, type Json, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg, png } from '../support/images.ts';
import { openPage, startBrowser, type Watched } from './browser.ts';
import {
  choose,
  PASSWORD,
  type Photo,
  photoRow,
  pressUpload,
  signIn,
  somePhotos,
  throttle,
  untilCard,
  visit,
} from './visitor.ts';

const photo = (name: string, bytes: number, seed: number): Photo => ({
  name,
  mimeType: 'image/jpeg',
  buffer: jpeg({ width: 640, height: 480, bytes, seed }),
});
const noPhoto = (name: string): Photo => ({
  name,
  mimeType: 'image/jpeg',
  buffer: Buffer.from('just text '.repeat(400)),
});

describe('the upload page', function () {
  this.timeout(60_000);
  let gateway: TestGateway;
  let browser: Browser;
  before(async () => {
    [gateway, browser] = await Promise.all([startTestGateway(), startBrowser()]);
  });
  after(async () => {
    await browser.close();
    await gateway.close();
  });

  let users = 0;
  let open: Watched[] = [];
  afterEach(async () => {
    gateway.cloudinary.faults.clear();
    await Promise.all(open.map(({ context }) => context.close()));
    open = [];
  });

  /** A new user's browser, signed in, with that user's own view of the API. */
  async function visitor(): Promise<Watched & { api: Api }> {
    users += 1;
    const { username, token } = await gateway.createUser(`visitor-${users}`, PASSWORD);
    const watched = await visit(browser, gateway, username);
    open.push(watched);
    return { ...watched, api: createApi(gateway.url, token) };
  }
  const tickets = async (api: Api): Promise<Json[]> => (await api.call('GET', '/v1/tickets')).body.items;

  it('refuses a wrong password, keeps a session for the tab alone unless asked, and chosen photos in one tab', async () => {
    const { username } = await gateway.createUser('grace', PASSWORD);
    const watched = await openPage(browser);
    open.push(watched);
    const { page, context } = watched;
    await page.goto(gateway.url);
    await signIn(page, username, 'wrong');
    await page.getByRole('alert').filter({ hasText: 'User name or password is wrong' }).waitFor();

    await signIn(page, username, PASSWORD);
    await page.locator('#account-name', { hasText: 'grace' }).waitFor();
    expect(await page.evaluate("localStorage.getItem('hopla.session')")).to.equal(null);
    const other = await context.newPage();
    await other.goto(gateway.url);
    await other.getByRole('heading', { name: 'Sign in' }).waitFor();

    const token = await page.evaluate<string>("JSON.parse(sessionStorage.getItem('hopla.session')).token");
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect((await createApi(gateway.url, token).call('GET', '/v1/tickets')).status, 'the token is revoked').to.equal(
      401,
    );

    await page.getByLabel('Keep me signed in').check();
    await signIn(page, username, PASSWORD);
    await page.locator('#account-name').waitFor();
    await other.reload();
    await other.locator('#account-name', { hasText: 'grace' }).waitFor();

    await choose(page, [photo('kept by one.jpg', 20_000, 1)]);
    await other.reload();
    await other.locator('.uppy-Dashboard-AddFiles').waitFor();
    expect(await other.locator('.uppy-Dashboard-Item').count(), 'the other tab leaves it alone').to.equal(0);
    await page.reload();
    await page.locator('.uppy-Dashboard-Item').waitFor();
  });

  it('opens a ticket for exactly the chosen photos, shows each leg, and nothing green before it is delivered', async () => {
    const { page, api, complaints } = await visitor();
    const photos = await somePhotos(page, 3);
    const all = `${photos.length} of ${photos.length} photos delivered`;
    const fault = { kind: 'delay', ms: 1_500 } as const;
    gateway.cloudinary.faults.add({ match: { operation: 'upload' }, times: photos.length, fault });
    await choose(page, photos);
    expect(await tickets(api), 'choosing opens nothing').to.deep.equal([]);
    await pressUpload(page);
    await page.locator('.photo[data-stage=received]').first().waitFor();
    expect(await green(page)).to.equal(0);
    await untilCard(page, all);
    await page.locator('#ticket .status', { hasText: 'completed' }).waitFor();
    await page
      .locator('.uppy-Dashboard-Item.is-complete')
      .nth(photos.length - 1)
      .waitFor();

    const [ticket] = await tickets(api);
    expect(ticket).to.include({ status: 'completed' });
    const { images } = await api.ticket(ticket.id);
    expect(images.map((image: Json) => image.filename)).to.have.members(photos.map(({ name }) => name));
    const shown = page.locator('.photo img[data-source=stored]');
    const sources = await shown.evaluateAll((all) => all.map((img) => img.getAttribute('src')));
    expect(sources).to.have.members(images.map((image: Json) => image.url));
    await until('thumbnails from the storage are painted, and none is broken', () =>
      page.evaluate<boolean>(
        "[...document.querySelectorAll('.photo img:not([hidden])')].filter((img) => img.loading !== 'lazy' || img.complete).every((img) => img.naturalWidth > 0)",
      ),
    );
    await page.getByText('Event log').click();
    await page.locator('.log li', { hasText: `${photos[0]?.name}: delivered` }).waitFor();
    expect(complaints).to.deep.equal([]);
  });

  it('takes a photo with the camera', async () => {
    const { page, api, complaints } = await visitor();
    await page.getByRole('tab', { name: 'Camera' }).click();
    await until('the camera shows something', () =>
      page.evaluate<boolean>("document.querySelector('video')?.videoWidth === 640"),
    );
    await page.getByRole('button', { name: 'Take a picture' }).click();
    await page.getByRole('button', { name: /submit/i }).click();
    await page.locator('.uppy-Dashboard-Item').waitFor();
    await pressUpload(page);
    await untilCard(page, '1 of 1 photo delivered');
    const [ticket] = await tickets(api);
    const [image] = (await api.ticket(ticket.id)).images;
    expect(image).to.include({ format: 'jpg', width: 640, height: 480 });
    expect(image.filename).to.match(/^cam-\d+\.jpg$/);
    expect(complaints).to.deep.equal([]);
  });

  it('has a client for applications, which uploads and follows from a browser, too', async () => {
    const { page, api, complaints } = await visitor();
    const loaded: string[] = [];
    page.on('request', (request) => loaded.push(new URL(request.url()).pathname.split('/').at(-1) ?? ''));
    const status = await page.evaluate<string>(`(${uploadWithClient})(${JSON.stringify(api.token)})`);
    expect(status).to.equal('completed landscape.png stored, text.jpg unsupported-image');
    expect(loaded).to.include.members(['upload.js', 'tus.js', 'tus.min.js']);
    expect(complaints.filter((text) => !text.includes('415'))).to.deep.equal([]);
  });

  it('opens one ticket when the answer to the first try was lost', async () => {
    const { page, api } = await visitor();
    let tries = 0;
    await page.route('**/v1/tickets', async (route) => {
      if (route.request().method() !== 'POST' || ++tries > 1) return route.continue();
      await route.fetch();
      await route.abort();
    });
    await choose(page, [photo('once.jpg', 20_000, 1)]);
    await pressUpload(page);
    await untilCard(page, '1 of 1 photo delivered');
    expect(tries).to.be.above(1);
    expect(await tickets(api)).to.have.length(1);
  });

  it('says why a photo is rejected, and lets another take its place', async () => {
    const { page, api, complaints } = await visitor();
    await choose(page, [photo('good.jpg', 30_000, 2), noPhoto('letter.jpg')]);
    await pressUpload(page);
    const rejected = photoRow(page, 'letter.jpg');
    await rejected.locator('.reason', { hasText: 'image' }).waitFor();
    await untilCard(page, '1 of 2 photos delivered');
    expect(await page.locator('.uppy-Dashboard-Item.is-error').count()).to.equal(1);
    expect(await page.locator('.photo .name').first().textContent(), 'comes first').to.equal('letter.jpg');
    await page.locator('.places', { hasText: '1 photo not accepted: see below. 1 place free until' }).waitFor();
    await page.getByText('Some photos were not sent').waitFor();
    const retry = page.locator('.uppy-StatusBar').getByRole('button', { name: /retry/i });
    expect(await retry.isVisible(), 'no repeat is offered that cannot help').to.equal(false);

    expect(await rejected.getByRole('link', { name: 'What to do' }).getAttribute('href')).to.equal(
      '/problems/unsupported-image',
    );
    const choosing = page.waitForEvent('filechooser');
    await rejected.getByRole('button', { name: 'Replace letter.jpg' }).click();
    await (await choosing).setFiles([photo('instead.jpg', 40_000, 3)]);
    await untilCard(page, '2 of 2 photos delivered');
    const [ticket] = await tickets(api);
    expect(ticket).to.include({ status: 'completed' });
    expect(complaints.filter((text) => !text.includes('415'))).to.deep.equal([]);
  });

  it('goes on by itself after the network was away', async () => {
    const { page, context, api } = await visitor();
    await throttle(page, 200_000);
    await choose(page, [photo('far.jpg', 700_000, 4), photo('away.jpg', 700_000, 5)]);
    await pressUpload(page);
    await untilOffset(api, 150_000);
    await context.setOffline(true);
    await page.getByText('You are offline').waitFor();
    const [ticket] = await tickets(api);
    const before = (await api.ticket(ticket.id)).images.map((image: Json) => image.id);
    await throttleOff(page, context);
    await untilCard(page, '2 of 2 photos delivered', 30_000);
    const { images } = await api.ticket(ticket.id);
    expect(
      images.map((image: Json) => image.id),
      'no photo was begun anew',
    ).to.have.members(before);
  });

  it('goes on after a reload in the middle, in the same ticket', async () => {
    const { page, api, complaints } = await visitor();
    await throttle(page, 200_000);
    await choose(page, [photo('one.jpg', 700_000, 6), photo('two.jpg', 700_000, 7), photo('first.jpg', 10_000, 8)]);
    await pressUpload(page);
    await untilCard(page, '1 of 3 photos delivered');
    await untilOffset(api, 150_000);
    const [ticket] = await tickets(api);
    const before = (await api.ticket(ticket.id)).images.map((image: Json) => image.id);
    await page.reload();
    await untilCard(page, /of 3 photos delivered/);
    const delivered = page.locator('.uppy-Dashboard-Item.is-complete img');
    await delivered.waitFor();
    expect(await delivered.getAttribute('src'), 'its picture is the stored one').to.include('/hopla/');
    await throttle(page, null);
    await untilCard(page, '3 of 3 photos delivered', 30_000);
    const after = await tickets(api);
    expect(after).to.have.length(1);
    expect((await api.ticket(ticket.id)).images.map((image: Json) => image.id)).to.have.members(before);
    expect(complaints).to.deep.equal([]);
  });

  it('lets a second device fill the ticket by its link, without signing in', async () => {
    const { page, api } = await visitor();
    await choose(page, [photo('mine.jpg', 30_000, 8), noPhoto('gap.jpg')]);
    await pressUpload(page);
    await untilCard(page, '1 of 2 photos delivered');
    await page.getByRole('button', { name: 'Another phone…' }).click();
    await page.getByRole('img', { name: 'QR code' }).locator('path').waitFor({ state: 'attached' });
    const link = await page.getByLabel('Link', { exact: true }).inputValue();
    expect(new URL(link).search, 'the token is in no query').to.equal('');

    const phone = await openPage(browser, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
    open.push(phone);
    await phone.page.goto(link);
    await untilCard(phone.page, '1 of 2 photos delivered');
    await choose(phone.page, [photo('theirs.jpg', 30_000, 9), photo('too many.jpg', 30_000, 10)]);
    await pressUpload(phone.page);
    await phone.page.getByText('This ticket has 1 place left').first().waitFor();
    await phone.page.getByRole('button', { name: 'Remove too many.jpg' }).click();
    await pressUpload(phone.page);
    await untilCard(phone.page, '2 of 2 photos delivered');
    await untilCard(page, '2 of 2 photos delivered');
    expect(await photoRow(page, 'theirs.jpg').count(), 'the first device sees it').to.equal(1);
    expect(await tickets(api)).to.have.length(1);
    expect(phone.complaints).to.deep.equal([]);
  });

  it('shows file names and descriptions as the text they are', async () => {
    const { page, api, complaints } = await visitor();
    const evil = '<img src=x onerror=document.title=1>';
    const { id } = await api.openTicket(1, { description: evil });
    await page.goto(`${gateway.url}/?ticket=${id}`);
    await page.getByRole('heading', { name: evil }).waitFor();
    await choose(page, [{ name: `${evil}.png`, mimeType: 'image/png', buffer: png({ seed: 3 }) }]);
    await pressUpload(page);
    await untilCard(page, '1 of 1 photo delivered');
    await photoRow(page, evil).waitFor();
    expect(await page.title()).to.equal('hopla');
    expect(complaints).to.deep.equal([]);
  });

  async function untilOffset(api: Api, bytes: number): Promise<void> {
    await until(`${bytes} bytes have arrived`, async () => {
      const [ticket] = await tickets(api);
      if (!ticket) return false;
      const { images } = await api.ticket(ticket.id);
      return images.length >= 2 && images.reduce((sum: number, image: Json) => sum + image.offset, 0) >= bytes;
    });
  }
});

async function throttleOff(page: Page, context: { setOffline(offline: boolean): Promise<void> }): Promise<void> {
  await context.setOffline(false);
  await throttle(page, null);
}

/** Runs in the browser, whose types the tests do not have; the import map of the page knows the name. */
const uploadWithClient = `async (token) => {
  const { createClient } = await import('hopla/client');
  const client = createClient({ url: location.origin, token });
  const canvas = Object.assign(document.createElement('canvas'), { width: 300, height: 200 });
  canvas.getContext('2d');
  const data = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
  const ticket = await client.openTicket({ images: 1 });
  const delivered = client.delivered(ticket);
  const [refused] = await client.upload(ticket, [{ slot: 'text', data: new Blob(['just text '.repeat(400)]) }]);
  await client.upload(ticket, [{ slot: 'photo', filename: 'landscape.png', data }]);
  const { status, images } = await delivered;
  const [{ filename, status: state }] = images.filter(({ status }) => status === 'stored');
  return status + ' ' + filename + ' ' + state + ', text.jpg ' + refused.error.code;
}`;

/** Signs of success on the page. */
function green(page: Page): Promise<number> {
  return page
    .locator('.uppy-Dashboard-Item.is-complete, .photo[data-stage=delivered], .status[data-status=completed]')
    .count();
}
