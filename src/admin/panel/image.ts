import type { Database } from '../../database/connection.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { type OwnedImage, ownedImages } from '../search/images.ts';
import { bytes, status, timeAndDistance, userLink } from './cells.ts';
import type { Show } from './frame.ts';
import type { PanelRoutes } from './guards.ts';
import { type Content, html, type Markup, outside, words } from './html.ts';
import { facts, guard } from './page.ts';
import type { Session } from './session.ts';

/** `GET /admin/images/:id` */
export function imageRoute(
  routes: PanelRoutes,
  { db, show, staging }: { db: Database; show: Show; staging: Staging },
): void {
  routes.page('/admin/images/:id', async (ctx, session) => {
    const id = ctx.params.id ?? '';
    const [image] = isId(id) ? await ownedImages(db, [id]) : [];
    if (!image) throw new HoplaError('upload-not-found');
    const here = image.staging === staging.id ? await staging.sizeOf(id) : null;
    show(ctx, session, {
      title: 'Image',
      body: html`<section class="card stack" aria-label="What it is">${preview(image)}${about(image, here)}${
        image.status === 'failed' && retry(session, id)
      }</section>
<p><a href="/admin/log?q=${id}">What admins did with it</a></p>`,
    });
  });
}

function preview({ status, url, filename }: OwnedImage): Content {
  if (status !== 'stored' || url === null) return false;
  return html`<img class="preview" src="${url}" alt="${filename ?? 'The stored image'}" loading="lazy" referrerpolicy="no-referrer">`;
}

function about(image: OwnedImage, here: number | null): Markup {
  const none = html`<span class="muted">–</span>`;
  return facts([
    ['Id', html`<code>${image.id}</code>`],
    ['File name', words(image.filename)],
    ['Ticket', html`<a href="/admin/tickets/${image.ticketId}"><code>${image.ticketId}</code></a>`],
    ['User', userLink(image.userId, image.username)],
    ['Status', status(image.status)],
    ['Error', image.errorCode ? html`<code>${image.errorCode}</code> <bdi>${image.errorMessage}</bdi>` : none],
    ['Tries', image.attempts],
    ['Slot', words(image.slot)],
    [
      'Size',
      html`${bytes(image.size)}${image.size !== null && html` <span class="muted">(${image.size} bytes)</span>`}`,
    ],
    [
      'Format',
      html`${words(image.format)}${pixels(image.displayWidth ?? image.width, image.displayHeight ?? image.height)}`,
    ],
    ['Media type', words(image.contentType)],
    ['SHA-256', image.sha256 ? html`<code>${image.sha256}</code>` : none],
    ['Staged file here', here === null ? 'none' : bytes(here)],
    ['Staging area', html`<code>${image.staging}</code>`],
    [
      'Stored as',
      image.storageKey ? html`${image.storageProvider} <code>${image.storageKey}</code>${storedAs(image)}` : none,
    ],
    ['Address', image.url === null ? none : outside(image.url)],
    ['Created', timeAndDistance(image.createdAt)],
    ['Received', timeAndDistance(image.receivedAt)],
    ['Stored', timeAndDistance(image.storedAt)],
  ]);
}

function pixels(width: number | null, height: number | null): Content {
  return width !== null && height !== null && html`, ${width} × ${height} pixels`;
}

/** The store's numbers, beside ours: it may have turned the image, or made another format of it. */
function storedAs({ storageFormat, storageWidth, storageHeight }: OwnedImage): Content {
  return storageFormat !== null && html`, ${storageFormat}${pixels(storageWidth, storageHeight)}`;
}

function retry(session: Session, id: string): Markup {
  return html`<form class="actions" method="post" action="/admin/images/act">${guard(session)}
<input type="hidden" name="id" value="${id}"><input type="hidden" name="back" value="/admin/images/${id}">
<button class="primary" name="action" value="retry">Retry</button></form>`;
}
