import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import axe from 'axe-core';
import { expect } from 'chai';
import type { Browser, Page } from 'playwright-core';
import { expireTicket } from '../../src/ledger/expire.ts';
import { createApi } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { openPage, startBrowser, type Watched } from './browser.ts';
import { choose, PASSWORD, type Photo, paintPhoto, pressUpload, signIn, untilCard } from './visitor.ts';

/** Left behind to be looked at. */
const PICTURES = join(tmpdir(), 'hopla-pages');
const themes = ['light', 'dark'] as const;
const widths = [360, 1400] as const;

describe('how the pages look and feel', function () {
  this.timeout(60_000);
  let gateway: TestGateway;
  let browser: Browser;
  before(async () => {
    [gateway, browser] = await Promise.all([startTestGateway(), startBrowser()]);
    await mkdir(PICTURES, { recursive: true });
  });
  after(async () => {
    await browser.close();
    await gateway.close();
  });
  let open: Watched[] = [];
  afterEach(async () => {
    gateway.cloudinary.faults.clear();
    await Promise.all(open.map(({ context }) => context.close()));
    open = [];
  });

  let findings: string[] = [];
  beforeEach(() => {
    findings = [];
  });
  /** Notes what axe-core finds serious or critical, and what does not fit. */
  async function examine(page: Page, state: string): Promise<void> {
    await page.evaluate(axe.source);
    // Half way through a transition colours are those of neither end.
    await page.evaluate(
      'Promise.allSettled(document.getAnimations().filter(({ effect }) => effect.getComputedTiming().endTime < Infinity)' +
        '.map(({ finished }) => finished)).then(() => {})',
    );
    const found = await page.evaluate<string[]>(
      "axe.run().then(({ violations }) => violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')" +
        ".flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ': ' + html + ' ' + failureSummary)))",
    );
    const overflow = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
    if (overflow > 0) found.push(`${overflow} pixels are beyond the width`);
    findings.push(...found.map((text) => `${state}: ${text}`));
  }

  for (const theme of themes) {
    for (const width of widths) {
      it(`is accessible and fits at ${width} px, ${theme}`, async () => {
        const look = async (page: Page, state: string) => {
          await page.screenshot({ path: join(PICTURES, `${state}-${width}-${theme}.png`), fullPage: true });
          await examine(page, state);
        };
        const { username, token } = await gateway.createUser(`viewer-${width}-${theme}`, PASSWORD);
        const api = createApi(gateway.url, token);
        await api.openTicket(4, { description: 'Wedding, the evening' });
        await api.openTicket(12);
        const watched = await openPage(browser, { colorScheme: theme, viewport: { width, height: 900 } });
        open.push(watched);
        const { page, complaints } = watched;
        await page.goto(gateway.url);
        await look(page, 'sign-in');
        await signIn(page, username, PASSWORD);
        await page.locator('.uppy-Dashboard-AddFiles').waitFor();
        await page.locator('.rows li').nth(1).waitFor();
        await look(page, 'empty');

        const photos = await Promise.all([1, 2, 3, 4, 5].map((seed) => paintPhoto(page, seed)));
        await choose(page, [...photos, letter]);
        await page.locator('.uppy-Dashboard-Item-previewImg').nth(4).waitFor();
        await look(page, 'chosen');
        // Three of five stay on their way for a while.
        gateway.cloudinary.faults.add({
          match: { operation: 'upload' },
          times: 3,
          fault: { kind: 'delay', ms: 5_000 },
        });
        await pressUpload(page);
        await untilCard(page, '2 of 6 photos delivered');
        await page.locator('.photo[data-stage=received]').first().waitFor();
        await page.getByText('Event log').click();
        await look(page, 'under-way');
        await page.getByRole('button', { name: 'Another phone…' }).click();
        await page.getByRole('img', { name: 'QR code' }).waitFor();
        await look(page, 'share');
        await page.keyboard.press('Escape');
        await untilCard(page, '5 of 6 photos delivered');
        await look(page, 'delivered');
        expect(complaints.filter((text) => !text.includes('415'))).to.deep.equal([]);

        await page.goto(`${gateway.url}/problems/unsupported-image`);
        await look(page, 'problem');
        expect(findings).to.deep.equal([]);
      });
    }
  }

  it('can be used by keyboard alone', async () => {
    const { username } = await gateway.createUser('typist', PASSWORD);
    const watched = await openPage(browser);
    open.push(watched);
    const { page, complaints } = watched;
    await page.goto(gateway.url);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.keyboard.type(username);
    await page.keyboard.press('Tab');
    await page.keyboard.type(PASSWORD);
    await page.keyboard.press('Enter');
    await page.locator('.uppy-Dashboard-AddFiles').waitFor();

    const photo = await paintPhoto(page, 7);
    const choosing = page.waitForEvent('filechooser');
    await press(page, 'choose photos');
    await (await choosing).setFiles([photo, letter]);
    await press(page, 'Upload 2 photos');
    await untilCard(page, '1 of 2 photos delivered');
    const replacing = page.waitForEvent('filechooser');
    await press(page, 'Replace letter.jpg');
    await (await replacing).setFiles([{ ...photo, name: 'second.jpg' }]);
    await untilCard(page, '2 of 2 photos delivered');
    await press(page, 'Event log');
    await page.locator('.log li', { hasText: 'All 2 photos delivered' }).waitFor();
    await press(page, 'completed', ' ');
    await page.getByText('1 ticket shown.').waitFor();
    await press(page, '2 photos');
    expect(await page.locator('#announcer').textContent()).to.equal('2 of 2 photos delivered, ticket completed');
    await press(page, 'Sign out');
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(complaints.filter((text) => !text.includes('415'))).to.deep.equal([]);
  });

  it('shows a guest the ticket and nothing of its owner', async () => {
    const { username, token } = await gateway.createUser('host', PASSWORD);
    const { id, uploadToken } = await createApi(gateway.url, token).openTicket(3, { description: 'Garden party' });
    const phone = await openPage(browser, { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
    open.push(phone);
    await phone.page.goto(`${gateway.url}/#ticket=${id}&token=${uploadToken}`);
    await phone.page.getByRole('heading', { name: 'Garden party' }).waitFor();
    await phone.page.screenshot({ path: join(PICTURES, 'guest-360-light.png'), fullPage: true });
    expect(await phone.page.getByText('My tickets').isVisible()).to.equal(false);
    expect(await phone.page.getByText(username, { exact: true }).count()).to.equal(0);
    await examine(phone.page, 'guest');
    expect(findings).to.deep.equal([]);
    await expireTicket(gateway.db, id);
    await phone.page.reload();
    await phone.page.locator('#ticket .status', { hasText: 'expired' }).waitFor();
    await choose(phone.page, [letter]);
    await pressUpload(phone.page);
    await phone.page.getByText('The time of this ticket has run out. Ask for a new link.').first().waitFor();
    await phone.page.goto(`${gateway.url}/#ticket=${id}&token=wrong`);
    await phone.page.getByText('This link does not work any more').waitFor();
    await phone.page.getByRole('heading', { name: 'Add photos' }).waitFor({ state: 'hidden' });
  });
});

const letter: Photo = { name: 'letter.jpg', mimeType: 'image/jpeg', buffer: Buffer.from('just text '.repeat(400)) };

/** Moves with Tab to what has this name, as somebody without a mouse would, and presses it. */
async function press(page: Page, name: string, key = 'Enter'): Promise<void> {
  for (let steps = 0; steps < 80; steps++) {
    const here = await page.evaluate<string>(
      "((e) => (e?.getAttribute('aria-label') || e?.labels?.[0]?.textContent || e?.textContent || '').trim())(document.activeElement)",
    );
    if (here.startsWith(name)) {
      await page.keyboard.press(key);
      return;
    }
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab reaches nothing called ${name}`);
}
