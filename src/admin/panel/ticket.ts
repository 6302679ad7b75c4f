import { z } from 'zod';
import type { Database } from '../../database/connection.ts';
import type { Image, Ticket } from '../../database/models.ts';
import { parseInput } from '../../http/json-body.ts';
import { HoplaError } from '../../model/errors.ts';
import { getTicket } from '../operations/find.ts';
import { updateTicket } from '../operations/ticket-update.ts';
import { imageKeys, searchImages } from '../search/images.ts';
import { bytes, imageLink, status, time, timeAndDistance, userLink } from './cells.ts';
import { field } from './form.ts';
import type { Show } from './frame.ts';
import type { PanelContext, PanelRoutes } from './guards.ts';
import { type Content, html, type Markup, words } from './html.ts';
import { imageBulk } from './images.ts';
import { type Column, list, positionIn, ROWS } from './list.ts';
import { facts, guard, problem } from './page.ts';
import { leaveNotice, type Session } from './session.ts';
import { goTo } from './sign-in.ts';
import { type Edited, editedOf, formOf } from './ticket-form.ts';

const columns: Column<Image>[] = [
  { title: 'File name', value: (image) => imageLink(image) },
  { title: 'Status', value: (image) => status(image.status) },
  { title: 'Slot', value: (image) => words(image.slot) },
  { title: 'Size', value: (image) => bytes(image.size), number: true },
  { title: 'Tries', value: (image) => image.attempts, number: true },
  { title: 'Error', value: (image) => image.errorCode && html`<code>${image.errorCode}</code>` },
  { title: 'Created (UTC)', value: (image) => time(image.createdAt) },
];

type Detail = Awaited<ReturnType<typeof getTicket>>;

/** `GET` and `POST /admin/tickets/:id` */
export function ticketRoutes(routes: PanelRoutes, { db, show }: { db: Database; show: Show }): void {
  const showDetail = async (
    ctx: PanelContext,
    session: Session,
    refused: { edited: Edited; detail: string } | null,
  ) => {
    const detail = await getTicket(db, ctx.params.id ?? '');
    const after = refused ? undefined : positionIn(ctx, imageKeys);
    const found = await searchImages(db, { ticketId: detail.ticket.id, order: 'oldest', limit: ROWS, after });
    show(ctx, session, {
      title: 'Ticket',
      status: refused ? 422 : 200,
      body: html`<div class="columns">
<section class="card stack" aria-label="What it is">${about(detail)}${endings(session, detail)}</section>
<section class="card" aria-labelledby="edit"><h2 id="edit">Change it</h2>
${problem(refused?.detail ?? null)}${formOf(session, detail.ticket, refused?.edited ?? editedOf(detail.ticket))}</section>
</div>
<h2>Images</h2>${list(ctx, session, {
        caption: 'Images of this ticket',
        columns,
        rows: found.items,
        next: found.next,
        bulk: imageBulk,
      })}
<p><a href="/admin/images?q=${detail.ticket.id}">All images of this ticket</a> ·
<a href="/admin/tokens?q=${detail.ticket.id}">Its upload tokens</a> ·
<a href="/admin/log?q=${detail.ticket.id}">What admins did with it</a></p>`,
    });
  };

  routes.page('/admin/tickets/:id', (ctx, session) => showDetail(ctx, session, null));

  routes.form('/admin/tickets/:id', async (ctx, session, form) => {
    const id = ctx.params.id ?? '';
    const edited = readEdited(form);
    try {
      const changes = changesOf(edited, readEdited(form, 'was-'));
      if (Object.keys(changes).length > 0) await updateTicket(db, session.by, id, changes);
      const text = Object.keys(changes).length > 0 ? 'The ticket was changed.' : 'There was nothing to change.';
      await leaveNotice(db, session.secret, { kind: 'done', text, lines: [] });
      goTo(ctx, `/admin/tickets/${id}`);
    } catch (error) {
      if (!(error instanceof HoplaError && error.code === 'invalid-request')) throw error;
      await showDetail(ctx, session, { edited, detail: error.message });
    }
  });
}

function readEdited(form: URLSearchParams, prefix = ''): Edited {
  const get = (name: string) => field(form, prefix + name);
  return {
    description: get('description'),
    metadata: get('metadata'),
    images: get('images'),
    expires: get('expires'),
  };
}

const Changes = z.object({
  description: z.string().transform((text) => text || null),
  metadata: z.string().transform((text, context) => {
    if (text.trim() === '') return null;
    try {
      return JSON.parse(text) as unknown;
    } catch {
      context.addIssue({ code: 'custom', message: 'must be JSON, such as {"album": 7}, or empty' });
      return z.NEVER;
    }
  }),
  images: z
    .string()
    .regex(/^\d{1,6}$/, 'must be a whole number')
    .transform(Number),
  expiresAt: z
    .string()
    .transform((text) => new Date(`${text}Z`))
    .refine((at) => !Number.isNaN(at.getTime()), 'must be a date and a time'),
});

/** Only what the person touched: what changed meanwhile beside it stays. Throws `invalid-request`. */
function changesOf(edited: Edited, was: Edited) {
  const touched = {
    ...(edited.description === was.description ? {} : { description: edited.description }),
    ...(edited.metadata === was.metadata ? {} : { metadata: edited.metadata }),
    ...(edited.images === was.images ? {} : { images: edited.images }),
    ...(edited.expires === was.expires ? {} : { expiresAt: edited.expires }),
  };
  const { description, metadata, images, expiresAt } = parseInput(Changes.partial(), touched);
  return {
    ...(description === undefined ? {} : { description }),
    ...(metadata === undefined ? {} : { metadata }),
    ...(images === undefined ? {} : { images }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
  };
}

function about({ ticket, owner }: Detail): Markup {
  const { claimed, received, stored, failed, expected } = ticket;
  return facts([
    ['Id', html`<code>${ticket.id}</code>`],
    ['User', userLink(owner.id, owner.username)],
    ['Status', status(ticket.status)],
    ['Description', words(ticket.description)],
    ['Images', progress(ticket)],
    [
      'Now',
      `${claimed - received} uploading, ${received - stored - failed} waiting for the storage, ${stored} stored, ${failed} failed, ${expected - claimed} places free`,
    ],
    ['Bytes', html`${bytes(ticket.bytesStored)} of ${bytes(ticket.bytesTotal)} stored`],
    ['Created', timeAndDistance(ticket.createdAt)],
    ['Expires', timeAndDistance(ticket.expiresAt)],
    ['Completed', timeAndDistance(ticket.completedAt)],
    ['Version', ticket.version],
  ]);
}

function progress({ stored, expected }: Ticket): Content {
  return html`<meter min="0" max="${expected}" value="${stored}" aria-label="Stored images"></meter> ${stored} of ${expected} stored`;
}

function endings(session: Session, { ticket }: Detail): Markup {
  const here = `/admin/tickets/${ticket.id}`;
  const button = (action: string, label: string, back: string, look: string) =>
    html`<form method="post" action="/admin/tickets/act">${guard(session)}
<input type="hidden" name="id" value="${ticket.id}"><input type="hidden" name="back" value="${back}">
<button name="action" value="${action}" class="${look}">${label}</button></form>`;
  const open = !ticket.expired && ticket.received < ticket.expected;
  return html`<div class="actions">${open && button('expire', 'Expire …', here, 'quiet')}
${button('delete', 'Delete …', '/admin/tickets', 'danger')}</div>`;
}
