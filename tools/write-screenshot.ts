/**
 * Makes `docs/images/upload-page.png` anew: the upload page of a running gateway, with photos that the browser paints, some
 * delivered and some on their way.
 *
 *     node tools/write-screenshot.ts
 */
import { mkdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { startTestGateway } from '../test/support/gateway.ts';
import { root } from '../test/support/pages.ts';
import { startBrowser } from '../test/web/browser.ts';
import { choose, PASSWORD, paintPhoto, pressUpload, throttle, visit } from '../test/web/visitor.ts';

/** The Markdown of the README shows the picture at about half of its size. */
const VIEWPORT = { width: 1100, height: 768 };
const MAX_BYTES = 200_000;
const PHOTOS = 6;
const DELIVERED = 3;
/** Slow enough for a picture of an upload in the middle. */
const BYTES_PER_SECOND = 90_000;

const path = process.argv[2] ?? join(root, 'docs/images/upload-page.png');

await using closing = new AsyncDisposableStack();
const gateway = closing.adopt(await startTestGateway(), (started) => started.close());
const browser = closing.adopt(await startBrowser(), (started) => started.close());
const { username } = await gateway.createUser('anna', PASSWORD);
const { page } = await visit(browser, gateway, username, { viewport: VIEWPORT });

const photos = [];
for (let seed = 1; seed <= PHOTOS; seed++) photos.push(await paintPhoto(page, seed, 1600, 1200));
await choose(page, photos);
// The page sends several photos at once; a slow line leaves the last ones in the middle.
await throttle(page, BYTES_PER_SECOND);
await pressUpload(page);
await page
  .locator('.photo img[data-source=stored]')
  .nth(DELIVERED - 1)
  .waitFor({ timeout: 60_000 });
await page.evaluate('scrollTo(0, 0)');
await mkdir(dirname(path), { recursive: true });
await page.screenshot({ path });

const { size } = await stat(path);
if (size > MAX_BYTES) throw new Error(`the picture has ${size} bytes, and may have ${MAX_BYTES}`);
process.stdout.write(`${path}: ${size} bytes\n`);
