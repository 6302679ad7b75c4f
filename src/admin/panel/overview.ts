import { statfs } from 'node:fs/promises';
import type { Database } from '../../database/connection.ts';
import type { Check } from '../../http/health.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { formatBytes, formatDuration } from '../operations/format.ts';
import { FAILED_COUNTED, type Minute, type Overview, readOverview, type StoreError } from '../operations/overview.ts';
import { time } from './cells.ts';
import { chart, topOf } from './chart.ts';
import { failures } from './failures.ts';
import type { Show } from './frame.ts';
import type { PanelRoutes } from './guards.ts';
import { type Content, html, type Markup, words } from './html.ts';
import type { Session } from './session.ts';

export type OverviewDeps = {
  db: Database;
  show: Show;
  staging: Staging;
  checks: Record<string, Check>;
  /** True while nothing is sent to the storage. */
  isPaused: () => boolean;
  /** Settings that let images in which the storage will refuse. */
  limitWarnings: () => readonly string[];
};

type Now = Overview & {
  broken: string[];
  paused: boolean;
  limitWarnings: readonly string[];
  staging: ReturnType<Staging['usage']> & { freeBytes: number };
};

const CHECK_MS = 3_000;
/** Several people may look, and a page asks every ten seconds. */
const REMEMBERED_MS = 4_000;
/** From here on it is worth a word. */
const LONG_WAIT_MS = 5 * 60_000;
const NEARLY_FULL = 0.8;

/** `GET /admin`: whether the place is well, at a glance. */
export function overviewRoute(routes: PanelRoutes, deps: OverviewDeps): void {
  let known: { at: number; now: Promise<Now> } | null = null;
  const look = () => {
    if (known && performance.now() - known.at < REMEMBERED_MS) return known.now;
    const now = readNow(deps);
    known = { at: performance.now(), now };
    now.catch(() => {
      known = null;
    });
    return now;
  };
  routes.page('/admin', async (ctx, session) => {
    const now = await look();
    deps.show(ctx, session, { title: 'Overview', body: html`<div data-live>${overview(now, session)}</div>` });
  });
}

async function readNow({ db, staging, checks, isPaused, limitWarnings }: OverviewDeps): Promise<Now> {
  const signal = AbortSignal.timeout(CHECK_MS);
  const looking = Object.entries(checks).map(([name, check]) => works(check, signal).then((ok) => (ok ? [] : [name])));
  const [numbers, broken, disk] = await Promise.all([
    readOverview(db),
    Promise.all(looking),
    statfs(staging.directory).catch(() => null),
  ]);
  const freeBytes = disk ? disk.bavail * disk.bsize : 0;
  return {
    ...numbers,
    broken: broken.flat(),
    paused: isPaused(),
    limitWarnings: limitWarnings(),
    staging: { ...staging.usage(), freeBytes },
  };
}

async function works(check: Check, signal: AbortSignal): Promise<boolean> {
  const late = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    await Promise.race([check(signal), late]);
    return true;
  } catch {
    // What is wrong is in the log, and in what /readyz says to machines.
    return false;
  }
}

function overview(now: Now, session: Session): Markup {
  const { queue, staging } = now;
  const failed = countFailed(now);
  const top = topOf(now.received, now.stored);
  const used = staging.budgetBytes > 0 ? staging.reservedBytes / staging.budgetBytes : 0;
  return html`${verdict(worriesOf(now, used))}${failures(now.failures, session)}
<div class="columns">
<section class="card" aria-label="Coming in">${chart('Received', now.received, top, 'received')}${rate(now.received)}</section>
<section class="card" aria-label="Going out">${chart('Delivered to the storage', now.stored, top, 'stored')}${rate(now.stored)}</section>
</div>
<div class="tiles">
${tile('Uploading', now.uploading, html`<a href="/admin/images?status=uploading">images that are arriving</a>`)}
${tile('Waiting for the storage', queue.waiting, html`<a href="/admin/images?status=received">images</a>, ${queue.afterFailure} after a failed try`)}
${tile('Being sent', queue.sending, html`<a href="/admin/images?status=transferring">images</a>`)}
${tile('Oldest waiting', queue.oldest ? formatDuration(Date.now() - queue.oldest.getTime()) : '–', 'since its last byte came in')}
${tile('Failed', amount(failed).replace(/ images?$/, ''), html`<a href="/admin/images?status=failed">images that an admin may retry</a>`, failed > 0)}
${tile(
  'Staging',
  `${Math.round(used * 100)} %`,
  html`<meter min="0" max="1" high="${NEARLY_FULL}" value="${used.toFixed(4)}" aria-label="Staging in use"></meter> ${staging.images} ${staging.images === 1 ? 'image' : 'images'}, ${formatBytes(staging.reservedBytes)} of ${formatBytes(staging.budgetBytes)}; the disk has ${formatBytes(staging.freeBytes)} free`,
  used > NEARLY_FULL,
)}
</div>
<h2>Errors of the storage in the last day</h2>${errors(now.errors)}`;
}

function worriesOf(now: Now, used: number): Content[] {
  const { broken, paused, queue, limitWarnings } = now;
  const failed = countFailed(now);
  const waited = queue.oldest ? Date.now() - queue.oldest.getTime() : 0;
  return [
    ...broken.map((name) => `The check of the ${name} fails.`),
    paused && 'The storage is away or refuses the account: transfers wait, and go on by themselves.',
    ...limitWarnings.map((warning) => words(warning.replace(/^the/, 'The'))),
    waited > LONG_WAIT_MS && `The oldest image has been waiting for ${formatDuration(waited)}.`,
    used > NEARLY_FULL && 'Staging is nearly full; when it is, new uploads are refused with 507.',
    failed > 0 &&
      html`${amount(failed)} <a href="/admin/images?status=failed">failed</a>: kept here, and not stored until an admin acts.`,
  ].filter(Boolean);
}

function countFailed({ failures }: Now): number {
  return failures.reduce((sum, { images }) => sum + images, 0);
}

function amount(failed: number): string {
  if (failed >= FAILED_COUNTED) return `${FAILED_COUNTED} or more images`;
  return `${failed} ${failed === 1 ? 'image' : 'images'}`;
}

function verdict(worries: Content[]): Markup {
  if (worries.length === 0) return html`<p class="verdict good">All is well.</p>`;
  return html`<div class="verdict bad"><p>This needs a look:</p><ul>${worries.map((worry) => html`<li>${worry}</li>`)}</ul></div>`;
}

/** The last whole minutes: the running one is always too low. */
function rate(minutes: readonly Minute[]): Markup {
  const last = minutes.slice(-6, -1);
  const images = last.reduce((sum, minute) => sum + minute.images, 0) / last.length;
  const bytes = last.reduce((sum, minute) => sum + minute.bytes, 0) / last.length;
  return html`<p class="rate"><strong>${images.toFixed(images < 10 && images > 0 ? 1 : 0)}</strong> images a minute, ${formatBytes(bytes)} <span class="muted">on average over the last 5 min</span></p>`;
}

function tile(name: string, value: Content, more: Content, alarming = false): Markup {
  return html`<section class="card tile${alarming && ' alarming'}"><h2>${name}</h2><p class="value">${value}</p><p class="muted">${more}</p></section>`;
}

function errors(all: readonly StoreError[]): Markup {
  if (all.length === 0) return html`<p class="card muted">None.</p>`;
  return html`<div class="card"><table class="list"><caption class="unseen">Errors of the storage</caption>
<thead><tr><th scope="col">Code</th><th scope="col" class="number">Images</th><th scope="col">Latest (UTC)</th><th scope="col">What it said last</th></tr></thead>
<tbody>${all.map(
    ({ code, images, latest, message }) => html`<tr><td data-title="Code"><div><code>${code}</code></div></td>
<td data-title="Images" class="number"><div>${images}</div></td><td data-title="Latest (UTC)"><div>${time(latest)}</div></td>
<td data-title="What it said last"><div>${words(message)}</div></td></tr>`,
  )}</tbody></table></div>`;
}
