import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import packaged, { inflate } from '@sparticuz/chromium';
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // A camera for those who ask for one, and nobody to be asked for leave.
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
];

/** A real Chromium: `CHROMIUM_PATH`, or the one inside the npm package. */
export async function startBrowser(): Promise<Browser> {
  const named = process.env.CHROMIUM_PATH;
  if (named && existsSync(named)) return chromium.launch({ executablePath: named, args: ARGUMENTS, headless: true });
  // What Chromium links to and a bare machine lacks (NSS and its like) is packed beside it.
  const binaries = join(dirname(fileURLToPath(import.meta.resolve('@sparticuz/chromium'))), '../bin');
  const libraries = await inflate(join(binaries, 'al2023.tar.br'));
  return chromium.launch({
    executablePath: await packaged.executablePath(),
    args: ARGUMENTS,
    headless: true,
    env: { ...process.env, LD_LIBRARY_PATH: join(libraries, 'lib') },
  });
}

/** A page, and what its browser complained about: errors on the console, uncaught ones, breaches of the security policy. */
export type Watched = { context: BrowserContext; page: Page; complaints: string[] };

export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({ viewport: { width: 1400, height: 900 }, ...options });
  const complaints: string[] = [];
  const page = await context.newPage();
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning')
      complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => complaints.push(`uncaught: ${error.message}`));
  // Told by the browser itself, where a console message could be missed.
  await page.addInitScript(
    "addEventListener('securitypolicyviolation', (event) => console.error('policy:', event.violatedDirective, event.blockedURI))",
  );
  return { context, page, complaints };
}
