import type { Database } from '../../database/connection.ts';
import { ticketStatuses } from '../../model/states.ts';
import { type OwnedTicket, searchTickets, ticketKeys, ticketOrders } from '../search/tickets.ts';
import { bytes, status, ticketLink, ticketName, time, userLink } from './cells.ts';
import type { Show } from './frame.ts';
import type { PanelContext, PanelRoutes } from './guards.ts';
import { html, type Markup } from './html.ts';
import {
  type BulkButton,
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

const columns: Column<OwnedTicket>[] = [
  { title: 'Ticket', value: ({ ticket }) => ticketLink(ticket) },
  { title: 'User', value: ({ ticket, username }) => userLink(ticket.userId, username) },
  { title: 'Status', value: ({ ticket }) => status(ticket.status) },
  { title: 'Stored', value: ({ ticket }) => `${ticket.stored} of ${ticket.expected}`, number: true },
  { title: 'Failed', value: ({ ticket }) => failed(ticket.failed), number: true },
  { title: 'Bytes', value: ({ ticket }) => bytes(ticket.bytesTotal), number: true },
  { title: 'Created (UTC)', value: ({ ticket }) => time(ticket.createdAt) },
  { title: 'Expires (UTC)', value: ({ ticket }) => time(ticket.expiresAt) },
];

const ticketButtons: BulkButton[] = [
  { action: 'expire', label: 'Expire' },
  { action: 'delete', label: 'Delete', danger: true },
];

/** `GET /admin/tickets` */
export function ticketListRoute(routes: PanelRoutes, { db, show }: { db: Database; show: Show }): void {
  routes.page('/admin/tickets', async (ctx, session) => {
    const order = oneOf(ctx, 'order', ticketOrders) ?? 'newest';
    const wanted = oneOf(ctx, 'status', ticketStatuses);
    const user = await userIn(ctx, db);
    const days = daysIn(ctx);
    const found =
      user === null
        ? { items: [], next: null }
        : await searchTickets(db, {
            order,
            limit: ROWS,
            after: positionIn(ctx, ticketKeys[order]),
            userId: user?.id,
            status: wanted && [wanted],
            createdFrom: days.from,
            createdTo: days.to,
            text: one(ctx, 'q'),
          });
    show(ctx, session, {
      title: 'Tickets',
      body: html`${ticketFilters(ctx)}${list(ctx, session, {
        caption: 'Tickets',
        columns,
        rows: found.items,
        next: found.next,
        bulk: {
          address: '/admin/tickets/act',
          buttons: ticketButtons,
          idOf: ({ ticket }) => ticket.id,
          nameOf: ({ ticket }) => ticketName(ticket),
        },
      })}`,
    });
  });
}

function ticketFilters(ctx: PanelContext): Markup {
  return filters(
    ctx,
    html`${textFilter(ctx, 'q', 'Search', 'id, description, metadata')}
${textFilter(ctx, 'user', 'User', 'whole name')}
${choice(ctx, 'status', 'Status', ticketStatuses, 'any')}
${dayFilters(ctx)}
${choice(ctx, 'order', 'Order', ticketOrders)}`,
  );
}

function failed(count: number): Markup | string {
  return count === 0 ? '0' : html`<strong class="bad">${count}</strong>`;
}
