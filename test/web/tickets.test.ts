import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { type Api, createApi, tusOptions, tusUpload, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { startBrowser, type Watched } from './browser.ts';
import { PASSWORD, untilCard, visit } from './visitor.ts';

const PAGE = 20;

describe('the list of tickets', function () {
  this.timeout(60_000);
  let gateway: TestGateway;
  let browser: Browser;
  let watched: Watched;
  let page: Page;
  let api: Api;
  before(async () => {
    [gateway, browser] = await Promise.all([startTestGateway(), startBrowser()]);
    const { username, token } = await gateway.createUser('lister', PASSWORD);
    api = createApi(gateway.url, token);
    const other = createApi(gateway.url, (await gateway.createUser()).token);
    await other.openTicket(1, { description: 'somebody else’s' });
    for (let number = 1; number <= 45; number++) await api.openTicket(2, { description: `ticket ${number}` });
    await gateway.db.raw(
      "UPDATE tickets SET created_at = created_at - interval '40 days' WHERE description IN ('ticket 1', 'ticket 2')",
    );
    watched = await visit(browser, gateway, username);
    page = watched.page;
  });
  after(async () => {
    await browser.close();
    await gateway.close();
  });

  const names = () => page.locator('.rows .name').allTextContents();
  const untilShown = (count: number) =>
    until(`${count} tickets are shown`, async () => (await names()).length === count);

  it('shows the newest first, and more when scrolled to', async () => {
    await until('the first page is there', async () => (await names()).length >= PAGE);
    expect((await names()).slice(0, 3)).to.deep.equal(['ticket 45', 'ticket 44', 'ticket 43']);
    await until('scrolling brings all', async () => {
      await page.evaluate('scrollTo(0, document.body.scrollHeight)');
      return (await names()).length === 45;
    });
    const all = await names();
    expect(new Set(all)).to.have.property('size', 45);
    expect(all.at(-1)).to.equal('ticket 1');
    expect(await page.getByText('45 tickets shown.').isVisible()).to.equal(true);
  });

  it('filters by date and keeps the filter in the address', async () => {
    const day = new Date(Date.now() - 20 * 86_400_000).toISOString().slice(0, 10);
    await page.getByLabel('To', { exact: true }).fill(day);
    await untilShown(2);
    expect(new URL(page.url()).searchParams.get('to')).to.equal(day);
    await page.reload();
    await untilShown(2);
    expect(await page.getByLabel('To', { exact: true }).inputValue()).to.equal(day);
    await page.getByRole('button', { name: 'Show all' }).click();
    await until('all are back', async () => (await names()).length >= PAGE);
    expect(new URL(page.url()).search).to.equal('');
  });

  it('filters by status, and rows come, change and go as it happens', async () => {
    await page.getByLabel('completed').check();
    await untilShown(0);
    await page.getByLabel('uploading').check();
    expect(new URL(page.url()).searchParams.get('status')).to.equal('uploading,completed');
    const ticket = await api.openTicket(2, { description: 'tonight' });
    await tusUpload(jpeg({ seed: 1 }), tusOptions(ticket));
    await untilShown(1);
    const row = page.locator('.rows li', { hasText: 'tonight' });
    await row.getByText('1 of 2 delivered').waitFor();
    await tusUpload(jpeg({ seed: 2 }), tusOptions(ticket));
    await row.getByText('2 of 2 delivered').waitFor();
    await row.getByText('completed').waitFor();
    await page.getByLabel('completed').uncheck();
    await untilShown(0);
    await page.getByRole('button', { name: 'Show all' }).click();
    await until('the new one is first', async () => (await names())[0] === 'tonight');
  });

  it('shows a ticket that is pressed, and goes back and forward between them', async () => {
    await page.getByRole('link', { name: 'tonight' }).click();
    await page.getByRole('heading', { name: 'tonight' }).waitFor();
    await untilCard(page, '2 of 2 photos delivered');
    expect(await page.locator('.photo').count()).to.equal(2);
    await page.getByRole('link', { name: 'ticket 44' }).click();
    await page.getByRole('heading', { name: 'ticket 44' }).waitFor();
    await page.goBack();
    await page.getByRole('heading', { name: 'tonight' }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: 'tonight' }).waitFor();
  });

  it('catches up after the gateway was away', async () => {
    await gateway.restart();
    const ticket = await api.openTicket(1, { description: 'after the restart' });
    await page.getByRole('link', { name: 'after the restart' }).waitFor();
    await tusUpload(jpeg({ seed: 3 }), tusOptions(ticket));
    await page.locator('.rows li', { hasText: 'after the restart' }).getByText('1 of 1 delivered').waitFor();
  });

  it('asks to sign in again when the session was taken back', async () => {
    await gateway.db('tokens').update({ revoked_at: new Date() });
    await page.reload();
    await page.getByText('Your session has ended').waitFor();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  });
});
