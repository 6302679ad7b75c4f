import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import axe from 'axe-core';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { startSession } from '../../src/admin/panel/session.ts';
import { createUser } from '../../src/identity/users.ts';
import { makeImage } from '../admin/things.ts';
import { createApi, tusOptions, tusUpload, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { openPage, startBrowser, type Watched } from '../web/browser.ts';
import { PASSWORD } from './clerk.ts';
import { makeFailed, makeTicket } from './premises.ts';

/** Left behind to be looked at. */
const PICTURES = join(tmpdir(), 'hopla-panel');
const themes = ['light', 'dark'] as const;
const widths = [360, 1400] as const;
/** Markup, quotes, a mark that turns the direction of writing around, and no end. */
const hostile = `"><script>document.title=1</script>'&amp; \u202egpj.exe ${'x'.repeat(120)}`;

describe('the admin panel in a browser', function () {
  this.timeout(60_000);
  let gateway: TestGateway;
  let browser: Browser;
  let adminId: string;
  before(async () => {
    [gateway, browser] = await Promise.all([startTestGateway(), startBrowser()]);
    await mkdir(PICTURES, { recursive: true });
    adminId = (await createUser(gateway.db, { username: 'ada', password: PASSWORD, isAdmin: true })).id;
  });
  after(async () => {
    await browser.close();
    await gateway.close();
  });
  let open: Watched[] = [];
  afterEach(async () => {
    await Promise.all(open.map(({ context }) => context.close()));
    open = [];
  });
  const enter = async (...options: Parameters<typeof openPage> extends [Browser, ...infer Rest] ? Rest : never) => {
    const watched = await openPage(browser, ...options);
    open.push(watched);
    return watched;
  };
  /** A browser in which somebody has signed in already. */
  const enterAsAdmin = async (...options: Parameters<typeof enter>) => {
    const watched = await enter(...options);
    const value = await startSession(gateway.db, adminId);
    const { hostname } = new URL(gateway.url);
    await watched.context.addCookies([
      { name: 'hopla_admin', value, domain: hostname, path: '/admin', httpOnly: true, sameSite: 'Strict' },
    ]);
    return watched;
  };
  const row = (page: Page, text: string) => page.locator('tbody tr').filter({ hasText: text });

  it('lets an admin find and change things, and puts all of that on record', async () => {
    const { db } = gateway;
    const owner = await gateway.createUser('olga');
    const ticket = await makeTicket(db, owner.id, { images: 3, description: 'Wedding of <b>Ann</b>' });
    const failed = await makeFailed(gateway, ticket.id, 'bride & groom.jpg');
    for (let count = 1; count <= 3; count++) await makeTicket(db, owner.id, { description: `to be closed ${count}` });
    const { page, complaints } = await enter();

    await page.goto(`${gateway.url}/admin`);
    await page.getByLabel('User name').fill('ada');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').filter({ hasText: 'wrong' }).waitFor();
    await page.getByLabel('User name').fill('ada');
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('1 image failed: kept here').waitFor();

    await page.getByRole('link', { name: 'Tickets' }).click();
    await page.getByLabel('Search').fill('wedding');
    await page.getByRole('button', { name: 'Find' }).click();
    expect(await page.locator('tbody tr').count()).to.equal(1);
    await row(page, 'Wedding of <b>Ann</b>').getByRole('link').first().click();

    await page.getByLabel('Description').fill('Wedding of Ann and Bo');
    await page.getByLabel('Number of images').fill('2');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('status').filter({ hasText: 'The ticket was changed.' }).waitFor();
    expect(await db('tickets').where({ id: ticket.id }).first()).to.include({
      description: 'Wedding of Ann and Bo',
      expected: 2,
    });

    await page.getByRole('link', { name: 'bride & groom.jpg' }).click();
    await page.getByRole('button', { name: 'Retry' }).click();
    await page.getByRole('status').filter({ hasText: '1 image on the way' }).waitFor();
    await until(
      'the image is delivered',
      async () => (await db('images').where({ id: failed.id }).first()).status === 'stored',
    );
    await page.reload();
    const preview = page.locator('img.preview');
    await preview.waitFor();
    await until('its picture is shown', () => page.evaluate("document.querySelector('img.preview').naturalWidth > 0"));

    await page.goto(`${gateway.url}/admin/tickets?q=to+be+closed`);
    await page.getByRole('checkbox', { name: 'Select all of this page' }).check();
    await page.getByText('With 3 selected:').waitFor();
    await row(page, 'to be closed 2').getByRole('checkbox').uncheck();
    await page.getByText('With 2 selected:').waitFor();
    await page.getByRole('button', { name: 'Expire' }).click();
    await page.getByRole('heading', { name: 'Expire tickets?' }).waitFor();
    expect(await page.locator('.selected li').count()).to.equal(2);
    await page.getByRole('button', { name: 'Expire' }).click();
    await page.getByRole('status').filter({ hasText: '2 tickets expired.' }).waitFor();
    expect(await row(page, 'expired').count()).to.equal(2);

    await page.getByRole('link', { name: 'Tokens' }).click();
    await page.getByRole('link', { name: 'Issue a token' }).click();
    await page.getByLabel('User').fill('olga');
    await page.getByLabel('Label').fill('web shop');
    await page.getByLabel('Valid').selectOption('30 days');
    await page.getByRole('button', { name: 'Issue' }).click();
    const token = await page.getByLabel('Token of olga').inputValue();
    expect((await createApi(gateway.url, token).call('GET', '/v1/tickets')).status).to.equal(200);

    await page.getByRole('link', { name: 'Audit log' }).click();
    for (const action of ['user.sign-in', 'ticket.update', 'image.retry', 'token.issue'])
      expect(await row(page, action).count(), action).to.equal(1);
    expect(await row(page, 'ticket.expire').count()).to.equal(2);
    await row(page, 'ticket.update').getByText('Wedding of <b>Ann</b>').waitFor();
    await page.getByLabel('What').selectOption('token.issue');
    await page.getByRole('button', { name: 'Find' }).click();
    expect(await page.locator('tbody tr').count()).to.equal(1);

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.goto(`${gateway.url}/admin/log`);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    // The browser counts the refused password, 401, among errors.
    expect(complaints.filter((text) => !text.includes('401'))).to.deep.equal([]);
  });

  it('lets an admin make users, shut them out and give them keys, each shown once', async () => {
    const { page, complaints } = await enterAsAdmin();
    const say = (text: string) => page.getByRole('status').filter({ hasText: text }).waitFor();
    const press = (name: string) => page.getByRole('button', { name }).click();
    const login = async (password: string) =>
      (await createApi(gateway.url, '').call('POST', '/v1/auth/login', { body: { username: 'nora', password } }))
        .status;
    await page.goto(`${gateway.url}/admin/users`);
    await page.getByLabel('Name', { exact: true }).fill('nora');
    await press('Create');
    const password = await page.getByLabel('Password of nora').inputValue();
    expect(await login(password)).to.equal(201);
    await page.getByRole('link', { name: 'To the user' }).click();

    await press('Disable …');
    await press('Disable');
    await say('1 user disabled.');
    expect(await login(password)).to.equal(401);
    await press('Enable');
    await say('1 user enabled.');
    expect(await login(password)).to.equal(201);

    await page.getByLabel('The password').fill('another good password');
    await press('Set the password');
    await say('The password was set.');
    expect(await login(password), 'the old one').to.equal(401);
    expect(await login('another good password')).to.equal(201);

    await page.getByRole('link', { name: 'Issue a token' }).click();
    await page.getByLabel('Label').fill('for the revocation');
    await press('Issue');
    const token = await page.getByLabel('Token of nora').inputValue();
    const list = () => createApi(gateway.url, token).call('GET', '/v1/tickets');
    expect((await list()).status).to.equal(200);
    await page.getByRole('link', { name: 'To the token' }).click();
    expect(await page.content(), 'shown once').not.to.include(token);
    await press('Revoke …');
    await press('Revoke');
    await say('1 token revoked.');
    expect((await list()).status).to.equal(401);
    expect(complaints).to.deep.equal([]);
  });

  it('lets an admin change a ticket as far as that is possible, and delete it with what is staged and stored', async () => {
    const { db } = gateway;
    const owner = await gateway.createUser();
    const api = createApi(gateway.url, owner.token);
    const ticket = await api.openTicket(4, { description: hostile });
    await tusUpload(jpeg({ bytes: 9_000 }), { ...tusOptions(ticket), metadata: { filename: hostile } });
    const image = await until('the photo is stored', async () => {
      const [first] = (await api.ticket(ticket.id)).images;
      return first?.status === 'stored' && first;
    });
    await makeFailed(gateway, ticket.id, `failed ${hostile}`);
    const { page, complaints } = await enterAsAdmin();
    await page.goto(`${gateway.url}/admin/tickets/${ticket.id}`);
    expect(await page.getByLabel('Description').inputValue()).to.equal(hostile);
    await page.screenshot({ path: join(PICTURES, 'hostile-ticket.png'), fullPage: true });

    const save = () => page.getByRole('button', { name: 'Save' }).click();
    // Past what the browser itself would refuse.
    await page.evaluate("document.querySelector('input[name=images]').removeAttribute('min')");
    await page.getByLabel('Number of images').fill('1');
    await save();
    await page.getByRole('alert').filter({ hasText: '2' }).waitFor();
    await page.screenshot({ path: join(PICTURES, 'hostile-refused.png'), fullPage: true });
    await page.getByLabel('Number of images').fill('3');
    await page.getByLabel('Metadata').fill('{"order": "</textarea><script>document.title = 1</script>"}');
    await page.getByLabel('Expires').fill('2031-02-03T04:05:06');
    await save();
    await page.getByRole('status').filter({ hasText: 'The ticket was changed.' }).waitFor();
    expect(await api.ticket(ticket.id)).to.deep.include({
      counts: { expected: 3, uploading: 0, received: 0, stored: 1, failed: 1 },
      metadata: { order: '</textarea><script>document.title = 1</script>' },
      expiresAt: '2031-02-03T04:05:06.000Z',
    });
    expect(await gateway.stagedFiles()).to.have.length(1);

    await page.getByRole('button', { name: 'Delete …' }).click();
    await page.getByLabel('Delete their stored images').check();
    await page.screenshot({ path: join(PICTURES, 'hostile-delete.png'), fullPage: true });
    await page.getByRole('button', { name: 'Delete for good' }).click();
    await page.getByRole('status').filter({ hasText: '1 ticket deleted.' }).waitFor();
    expect(await gateway.stagedFiles()).to.deep.equal([]);
    expect((await fetch(image.url)).status, 'gone from the storage').to.equal(404);
    expect(await db('tickets').where({ id: ticket.id })).to.deep.equal([]);

    await page.goto(`${gateway.url}/admin/log?q=${ticket.id}`);
    await row(page, 'ticket.update').locator('summary, li').first().click();
    await row(page, 'ticket.update').getByText('</textarea><script>').waitFor();
    await page.screenshot({ path: join(PICTURES, 'hostile-log.png'), fullPage: true });
    expect(await page.title()).to.include('Audit log');
    // The browser counts the change that was refused, 422, among errors.
    expect(complaints.filter((text) => !text.includes('422'))).to.deep.equal([]);
  });

  it('can be used by keyboard alone', async () => {
    const { page, complaints } = await enterAsAdmin();
    await page.goto(`${gateway.url}/admin/users`);
    const press = async (key: string, until: string) => {
      for (let presses = 0; presses < 40; presses++) {
        await page.keyboard.press(key);
        const name = await page.evaluate<string>(
          "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.name ?? '') + ' ' + (document.activeElement.closest('label') ?? document.activeElement).textContent",
        );
        if (name.includes(until)) return;
      }
      throw new Error(`${key} does not reach ${until}`);
    };
    await press('Tab', 'Skip to the content');
    await page.keyboard.press('Enter');
    await press('Tab', 'q Search');
    await page.keyboard.type('ad');
    await page.keyboard.press('Enter');
    await row(page, 'ada').waitFor();
    await press('Tab', 'Select ada');
    await page.keyboard.press('Space');
    await press('Tab', 'Disable');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Disable users?' }).waitFor();
    await press('Tab', 'Disable');
    await page.keyboard.press('Enter');
    await page.getByRole('alert').filter({ hasText: 'You cannot disable yourself.' }).waitFor();
    expect(complaints).to.deep.equal([]);
  });

  it('keeps the overview fresh while somebody looks, and notices that the session has ended', async () => {
    const { page, complaints } = await enterAsAdmin();
    await page.clock.install();
    await page.goto(`${gateway.url}/admin`);
    const owner = await gateway.createUser();
    const ticket = await makeTicket(gateway.db, owner.id, { images: 7 });
    for (let count = 0; count < 7; count++) await makeImage(gateway.db, ticket.id, 'uploading');
    const tile = page.locator('.tile').filter({ hasText: 'images that are arriving' });
    await until('the number of uploads is shown', async () => {
      await page.clock.fastForward(10_000);
      return (await tile.locator('.value').textContent()) === '7';
    });
    await gateway.db('sessions').delete();
    await until('the sign-in page is shown', async () => {
      await page.clock.fastForward(10_000);
      return page.getByRole('heading', { name: 'Sign in' }).isVisible();
    });
    expect(complaints).to.deep.equal([]);
  });

  describe('looks', () => {
    let paths: Record<string, string>;
    before(async () => {
      const { db } = gateway;
      const owner = await gateway.createUser('photographer.with.a-very-long-name@studio.example');
      const long =
        'An album with a description that goes on and on, as people write them when nobody stops them, and on';
      const ticket = await makeTicket(db, owner.id, {
        images: 12,
        description: long,
        metadata: { order: 'A-1234', tags: ['wedding', 'evening'] },
      });
      const image = await makeFailed(
        gateway,
        ticket.id,
        'DSC_0815 (the one with the dog, edited, final, really final).jpg',
      );
      await makeImage(db, ticket.id, 'uploading', { filename: 'IMG_0001.HEIC', size: 4_000_000 });
      await makeImage(db, ticket.id, 'stored', { filename: 'IMG_0002.HEIC', size: 5_000_000 });
      await makeTicket(db, owner.id, { description: 'Zoo' });
      // An hour as it might have been, with a break.
      await db.raw(
        `INSERT INTO images (id, ticket_id, status, staging, size, sha256, md5, received_at, stored_at, url, storage_key)
         SELECT gen_random_uuid(), ?, 'stored', 'x', 3000000, repeat('a', 64), repeat('b', 32),
                now() - n * interval '7 seconds', now() - n * interval '7 seconds' + n % 9 * interval '11 seconds', 'u', 'k'
         FROM generate_series(1, 500) AS n WHERE n % 90 < 60`,
        [ticket.id],
      );
      const { id: tokenId } = await db('tokens').where({ user_id: owner.id, kind: 'user' }).first();
      paths = {
        ...{ overview: '', tickets: '/tickets', ticket: `/tickets/${ticket.id}`, images: '/images' },
        ...{ image: `/images/${image.id}`, users: '/users', user: `/users/${owner.id}`, tokens: '/tokens' },
        ...{ token: `/tokens/${tokenId}`, issue: '/tokens/new', log: '/log', missing: '/nothing' },
      };
    });

    for (const theme of themes) {
      for (const width of widths) {
        it(`is accessible and fits at ${width} px, ${theme}`, async () => {
          // Of what axe looks for, only the contrast depends on the theme, and that not on the width.
          const rules = theme === 'light' ? '{}' : width === 360 ? null : "{ runOnly: ['color-contrast'] }";
          const options = { colorScheme: theme, viewport: { width, height: 900 } };
          const findings: string[] = [];
          const look = async (page: Page, state: string) => {
            await page.screenshot({ path: join(PICTURES, `${state}-${width}-${theme}.png`), fullPage: true });
            findings.push(...(await examine(page, rules)).map((text) => `${state}: ${text}`));
          };
          const stranger = await enter(options);
          await stranger.page.goto(`${gateway.url}/admin`);
          await look(stranger.page, 'sign-in');
          const { page, complaints } = await enterAsAdmin(options);
          for (const [name, path] of Object.entries(paths)) {
            await page.goto(`${gateway.url}/admin${path}`);
            await look(page, name);
          }
          await page.goto(`${gateway.url}/admin/tickets?q=Zoo`);
          await page.getByRole('checkbox').last().check();
          await page.getByRole('button', { name: 'Delete' }).click();
          await page.getByRole('heading', { name: 'Delete tickets?' }).waitFor();
          await look(page, 'confirmation');
          // The browser counts the page that is missing, 404, among errors.
          expect([...complaints, ...stranger.complaints].filter((text) => !text.includes('404'))).to.deep.equal([]);
          expect(findings).to.deep.equal([]);
        });
      }
    }
  });
});

/** What axe-core finds serious or critical by these options of `axe.run`, if any, and what does not fit. */
async function examine(page: Page, options: string | null): Promise<string[]> {
  const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
  const found = overflow > 0 ? [`${overflow} pixels are beyond the width`] : [];
  if (options === null) return found;
  await page.evaluate(axe.source);
  const violations = await page.evaluate<string[]>(
    `axe.run(${options}).then(({ violations }) => violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')` +
      ".flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ': ' + html + ' ' + failureSummary)))",
  );
  return [...found, ...violations];
}
