import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Browser, BrowserContextOptions, Locator, Page } from 'playwright-core';
import type { TestGateway } from '../support/gateway.ts';
import { openPage, type Watched } from './browser.ts';

export type Photo = { name: string; mimeType: string; buffer: Buffer };
export const PASSWORD = 'correct horse battery';

/** Opens the page in a browser of its own and signs in. */
export async function visit(
  browser: Browser,
  gateway: TestGateway,
  username: string,
  options?: BrowserContextOptions,
): Promise<Watched> {
  const watched = await openPage(browser, options);
  await watched.page.goto(gateway.url);
  await signIn(watched.page, username, PASSWORD);
  await watched.page.locator('.uppy-Dashboard-AddFiles').waitFor();
  return watched;
}

export async function signIn(page: Page, username: string, password: string): Promise<void> {
  await page.getByLabel('User name').fill(username);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

export async function choose(page: Page, photos: Photo[]): Promise<void> {
  await page.locator('.uppy-Dashboard-input').first().setInputFiles(photos);
}

export async function pressUpload(page: Page): Promise<void> {
  await page.getByRole('button', { name: /^Upload \d+/ }).click();
}

/** A photo in the ticket's list. */
export function photoRow(page: Page, name: string): Locator {
  return page.locator('.photo').filter({ has: page.locator('.name', { hasText: name }) });
}

/** Waits until the ticket card says so; fails with what the page says instead. */
export async function untilCard(page: Page, text: string | RegExp, timeout = 20_000): Promise<void> {
  try {
    await page.locator('#ticket .count').filter({ hasText: text }).waitFor({ timeout });
  } catch (error) {
    const log = page.locator('.log li').evaluateAll((all) => all.map(({ textContent }) => textContent).join('\n'));
    const seen = [await page.locator('#workspace').innerText(), await log];
    throw new Error(`the ticket does not say “${text}”, but:\n${seen.join('\n')}`, { cause: error });
  }
}

/** Lets no more than so many bytes a second out of the browser; null: as many as it can. */
export async function throttle(page: Page, bytesPerSecond: number | null): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send('Network.enable');
  await session.send('Network.emulateNetworkConditions', {
    offline: false,
    latency: 0,
    downloadThroughput: -1,
    uploadThroughput: bytesPerSecond ?? -1,
  });
}

const mimeTypes: Record<string, string> = {
  '.jpg': 'image/jpeg',
  '.heic': 'image/heic',
  '.avif': 'image/avif',
  '.tiff': 'image/tiff',
};

/** Photos out of cameras, when TEST_PHOTOS names a folder of them; else as many as are asked for, painted. */
export async function somePhotos(page: Page, count: number): Promise<Photo[]> {
  const folder = process.env.TEST_PHOTOS;
  if (!folder) return Promise.all(Array.from({ length: count }, (_, index) => paintPhoto(page, index + 1)));
  const names = (await readdir(folder)).filter((name) => mimeTypes[extname(name)]);
  return Promise.all(
    names.map(async (name) => ({
      name,
      mimeType: mimeTypes[extname(name)] ?? '',
      buffer: await readFile(join(folder, name)),
    })),
  );
}

/** A photo as a camera makes it, painted and encoded by the browser: a landscape that differs by `seed`. */
export async function paintPhoto(page: Page, seed: number, width = 1600, height = 1200): Promise<Photo> {
  const base64 = await page.evaluate<string>(`(${paintLandscape})(${seed}, ${width}, ${height})`);
  return { name: `landscape ${seed}.jpg`, mimeType: 'image/jpeg', buffer: Buffer.from(base64, 'base64') };
}

/** Runs in the browser, whose types the tests do not have. */
const paintLandscape = `(seed, width, height) => {
  const canvas = Object.assign(document.createElement('canvas'), { width, height });
  const draw = canvas.getContext('2d');
  const hue = (seed * 67) % 360;
  const sky = draw.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, 'hsl(' + hue + ' 60% 35%)');
  sky.addColorStop(1, 'hsl(' + ((hue + 40) % 360) + ' 80% 80%)');
  draw.fillStyle = sky;
  draw.fillRect(0, 0, width, height);
  draw.fillStyle = '#fff6d8';
  draw.beginPath();
  draw.arc(width * (0.2 + 0.15 * (seed % 5)), height * 0.3, height * 0.08, 0, 7);
  draw.fill();
  for (let ridge = 0; ridge < 4; ridge++) {
    draw.fillStyle = 'hsl(' + ((hue + 120) % 360) + ' ' + (35 - ridge * 4) + '% ' + (45 - ridge * 10) + '%)';
    draw.beginPath();
    draw.moveTo(0, height);
    for (let x = 0; x <= width; x += 8) {
      const wave = Math.sin(x / (110 + 40 * ridge) + seed + ridge * 2) + Math.sin(x / 37 + seed * ridge) / 4;
      draw.lineTo(x, height * (0.5 + ridge * 0.12) + wave * height * 0.05);
    }
    draw.lineTo(width, height);
    draw.fill();
  }
  return canvas.toDataURL('image/jpeg', 0.9).split(',')[1];
}`;
