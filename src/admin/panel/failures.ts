import type { PgBoss } from 'pg-boss';
import type { Database } from '../../database/connection.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { retryImages } from '../operations/images.ts';
import type { Failure } from '../operations/overview.ts';
import { imageLink, plainly, time } from './cells.ts';
import type { PanelRoutes } from './guards.ts';
import { type Content, html, type Markup, words } from './html.ts';
import { guard } from './page.ts';
import { leaveNotice, type Session } from './session.ts';
import { goTo } from './sign-in.ts';

const TITLE = 'Images that were received and are not stored';

/** What an admin can do about images that failed with a code. */
const advice: Record<string, string> = {
  'storage-refused':
    'The storage does not take these images: they may be larger than its plan allows, or of a format that it does not know. Change that (the plan, MAX_IMAGE_BYTES), then retry.',
  'staged-file-lost':
    'The file in the staging folder is gone or was changed. Put it back from a backup, then retry; or have the photo uploaded again and delete this ticket.',
};
const LATER = 'The storage failed more often than hopla tries by itself. Retry when it is well.';

/** Which images failed, why, and what to do. */
export function failures(all: readonly Failure[], session: Session): Content {
  if (all.length === 0) return false;
  return html`<section class="card stack alarming" aria-label="${TITLE}"><h2>${TITLE}</h2>
<p>Their files are kept here, and so are their places, until an admin retries or deletes them.</p>
<table class="list"><caption class="unseen">${TITLE}</caption>
<thead><tr><th scope="col">Code</th><th scope="col" class="number">Images</th><th scope="col">Which</th><th scope="col">Latest (UTC)</th><th scope="col">Why</th><th scope="col">What to do</th></tr></thead>
<tbody>${all.map(row)}</tbody></table>
<form class="actions" method="post" action="/admin/images/retry-all">${guard(session)}<button class="primary">Retry all failed images</button></form></section>`;
}

function row({ code, images, some, latest, message }: Failure): Markup {
  const more = images - some.length;
  return html`<tr><td data-title="Code"><div><code>${code}</code></div></td>
<td data-title="Images" class="number"><div>${images}</div></td>
<td data-title="Which"><div>${some.map((image, nth) => html`${nth > 0 && ', '}${imageLink(image)}`)}${
    more > 0 && html` and <a href="/admin/images?status=failed">${more} more</a>`
  }</div></td>
<td data-title="Latest (UTC)"><div>${time(latest)}</div></td><td data-title="Why"><div>${words(message)}</div></td>
<td data-title="What to do"><div>${advice[code] ?? LATER}</div></td></tr>`;
}

/** What takes longer is left for the next time: a browser, or a proxy, gives up after about a minute. */
const WORKING_MS = 20_000;
const MOST_LINES = 20;

/** `POST /admin/images/retry-all`: sends every failed image to the storage again. */
export function retryAllRoute(
  routes: PanelRoutes,
  { db, staging, boss }: { db: Database; staging: Staging; boss: PgBoss },
): void {
  routes.form('/admin/images/retry-all', async (ctx, session) => {
    const deadline = performance.now() + WORKING_MS;
    const lines: string[] = [];
    let retried = 0;
    for await (const { image, refused } of retryImages({ db, by: session.by, staging, boss: async () => boss })) {
      if (!refused) retried += 1;
      else if (lines.length < MOST_LINES) lines.push(`${image.filename ?? image.id}: ${plainly(refused.message)}`);
      if (performance.now() < deadline) continue;
      lines.push('Some may be left for lack of time; retry again.');
      break;
    }
    ctx.state.log.info({ retried }, 'an admin retried every failed image');
    const text = `${retried} ${retried === 1 ? 'image' : 'images'} on the way to the storage again.`;
    await leaveNotice(db, session.secret, { kind: lines.length > 0 ? 'problem' : 'done', text, lines });
    goTo(ctx, '/admin');
  });
}
