import type { PgBoss } from 'pg-boss';
import type { Database } from '../../database/connection.ts';
import { Image } from '../../database/models.ts';
import { imageStatuses } from '../../model/states.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { retryImage } from '../operations/images.ts';
import { imageKeys, imageOrders, type OwnedImage, searchImages } from '../search/images.ts';
import type { Kind } from './act.ts';
import { bytes, imageLink, shortId, status, time, userLink } from './cells.ts';
import type { Show } from './frame.ts';
import type { PanelContext, PanelRoutes } from './guards.ts';
import { html, type Markup } from './html.ts';
import {
  type Bulk,
  type Column,
  choice,
  dayFilters,
  daysIn,
  filters,
  list,
  one,
  oneOf,
  positionIn,
  ROWS,
  textFilter,
  userIn,
} from './list.ts';

const columns: Column<OwnedImage>[] = [
  { title: 'File name', value: (image) => imageLink(image) },
  {
    title: 'Ticket',
    value: ({ ticketId }) => html`<a href="/admin/tickets/${ticketId}"><code>${shortId(ticketId)}</code></a>`,
  },
  { title: 'User', value: (image) => userLink(image.userId, image.username) },
  { title: 'Status', value: (image) => status(image.status) },
  { title: 'Size', value: (image) => bytes(image.size), number: true },
  { title: 'Tries', value: (image) => image.attempts, number: true },
  { title: 'Error', value: (image) => image.errorCode && html`<code>${image.errorCode}</code>` },
  { title: 'Created (UTC)', value: (image) => time(image.createdAt) },
];

/** What can be done with images, wherever they are listed. */
export const imageBulk: Bulk<Image> = {
  address: '/admin/images/act',
  buttons: [{ action: 'retry', label: 'Retry' }],
  idOf: (image) => image.id,
  nameOf: (image) => image.filename ?? image.id,
};

/** `GET /admin/images` */
export function imageListRoute(routes: PanelRoutes, { db, show }: { db: Database; show: Show }): void {
  routes.page('/admin/images', async (ctx, session) => {
    const user = await userIn(ctx, db);
    const days = daysIn(ctx);
    const found =
      user === null
        ? { items: [], next: null }
        : await searchImages(db, {
            order: oneOf(ctx, 'order', imageOrders),
            limit: ROWS,
            after: positionIn(ctx, imageKeys),
            userId: user?.id,
            status: oneOf(ctx, 'status', imageStatuses),
            createdFrom: days.from,
            createdTo: days.to,
            text: one(ctx, 'q'),
          });
    show(ctx, session, {
      title: 'Images',
      body: html`${imageFilters(ctx)}${list(ctx, session, {
        caption: 'Images',
        columns,
        rows: found.items,
        next: found.next,
        bulk: imageBulk,
      })}`,
    });
  });
}

function imageFilters(ctx: PanelContext): Markup {
  return filters(
    ctx,
    html`${textFilter(ctx, 'q', 'Search', 'id, file name, slot, hash, error')}
${textFilter(ctx, 'user', 'User', 'whole name')}
${choice(ctx, 'status', 'Status', imageStatuses, 'any')}
${dayFilters(ctx)}
${choice(ctx, 'order', 'Order', imageOrders)}`,
  );
}

export function imageActions({ db, staging, boss }: { db: Database; staging: Staging; boss: PgBoss }): Kind {
  return {
    name: 'images',
    singular: 'image',
    async describe(ids) {
      const images = await Image.query(db).whereIn('id', ids).select('id', 'filename');
      return new Map(images.map(({ id, filename }) => [id, filename ?? shortId(id)]));
    },
    actions: {
      retry: {
        done: 'on the way to the storage again',
        async perform(id, by) {
          await retryImage({ db, by, staging, boss: async () => boss }, id);
          return undefined;
        },
      },
    },
  };
}
