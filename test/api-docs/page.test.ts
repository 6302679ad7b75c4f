import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import axe from 'axe-core';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { type Json, until } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { openPage, startBrowser } from '../web/browser.ts';

/** Left behind to be looked at. */
const PICTURES = join(tmpdir(), 'hopla-pages');

describe('the API page', function () {
  this.timeout(60_000);
  let gateway: TestGateway;
  let browser: Browser;
  before(async () => {
    gateway = await startTestGateway();
    browser = await startBrowser();
    await mkdir(PICTURES, { recursive: true });
  });
  after(async () => {
    await browser?.close();
    await gateway?.close();
  });

  it('shows every call, under a strict policy and without a complaint of the browser', async () => {
    const { page, complaints } = await openPage(browser);
    const hosts = new Set<string>();
    page.on('request', (request) => {
      if (!request.url().startsWith('data:')) hosts.add(new URL(request.url()).origin);
    });
    const response = await page.goto(`${gateway.url}/docs`);
    const policy = response?.headers()['content-security-policy'] ?? '';
    expect(policy).to.include("default-src 'none'").and.not.include('unsafe');
    await page.locator('.opblock').first().waitFor();
    await page.screenshot({ path: join(PICTURES, 'docs.png') });
    const document: Json = await (await fetch(`${gateway.url}/openapi.json`)).json();
    const operations = Object.values<Json>(document.paths).flatMap((path) =>
      Object.keys(path).filter((name) => name !== 'parameters'),
    );
    await until('every call is there', async () => (await page.locator('.opblock').count()) >= operations.length);
    expect(await page.locator('.opblock').count()).to.equal(operations.length);

    await page.locator('#operations-Tickets-openTicket .opblock-summary-control').click();
    await page.locator('#operations-Tickets-openTicket a[href="/problems/invalid-request"]').waitFor();
    await page.screenshot({ path: join(PICTURES, 'docs-operation.png'), fullPage: true });
    await page.locator('#operations-Progress-watchTicket .opblock-summary-control').click();
    expect(await findings(page), 'light').to.deep.equal([]);
    await page.setViewportSize({ width: 360, height: 800 });
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.screenshot({ path: join(PICTURES, 'docs-360.png') });
    expect(await findings(page), 'dark').to.deep.equal([]);
    expect(await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth')).to.be.at.most(0);
    expect([...hosts]).to.deep.equal([gateway.url]);
    expect(complaints).to.deep.equal([]);
    await page.context().close();
  });

  it('tries a call out with a token', async () => {
    const { token } = await gateway.createUser();
    const { page, complaints } = await openPage(browser);
    await page.goto(`${gateway.url}/docs`);
    await page.getByRole('button', { name: 'Authorize' }).click();
    await page.locator('.auth-container input').fill(token);
    await page.locator('.auth-container').getByRole('button', { name: 'Apply credentials' }).click();
    await page.locator('.auth-container').getByRole('button', { name: 'Close' }).click();
    const operation = page.locator('#operations-Tickets-openTicket');
    await operation.locator('.opblock-summary-control').click();
    await operation.getByRole('button', { name: 'Try it out' }).click();
    await operation.getByRole('button', { name: 'Execute' }).click();
    await operation.locator('.live-responses-table .response-col_status', { hasText: '201' }).waitFor();
    expect(complaints).to.deep.equal([]);
    await page.context().close();
  });

  it('lets the viewer be kept for ever, by its content', async () => {
    const html = await (await fetch(`${gateway.url}/docs`)).text();
    const paths = [...html.matchAll(/"(\/docs\/[^"]+)"/g)].map(([, path = '']) => path);
    expect(paths).to.have.lengthOf(4);
    for (const path of paths) {
      const { status, headers } = await fetch(`${gateway.url}${path}`, { headers: { 'Accept-Encoding': 'br' } });
      expect(status).to.equal(200);
      expect(headers.get('Cache-Control')).to.include('immutable');
    }
    expect((await fetch(`${gateway.url}/docs/x/other.js`)).status).to.equal(404);
  });

  it('names only error codes that have a page', async () => {
    const text = await (await fetch(`${gateway.url}/openapi.json`)).text();
    const codes = new Set([...text.matchAll(/\(\/problems\/([\w-]+)\)/g)].map(([, code]) => code));
    expect(codes.size).to.be.above(20);
    for (const code of codes) expect((await fetch(`${gateway.url}/problems/${code}`)).status, code).to.equal(200);
  });
});

/** What axe-core finds serious or critical. */
async function findings(page: Page): Promise<string[]> {
  // Colours on their way to others would be judged as they are at that moment.
  await page.evaluate('Promise.allSettled(document.getAnimations().map(({ finished }) => finished))');
  await page.evaluate(axe.source);
  return page.evaluate<string[]>(
    "axe.run().then(({ violations }) => violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')" +
      ".flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ': ' + html)))",
  );
}
