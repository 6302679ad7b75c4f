import { z } from 'zod';
import type { Database } from '../../database/connection.ts';
import { isStorableText } from '../../http/json-body.ts';
import { findUser } from '../../identity/users.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import { TicketQuery } from '../../tickets/list.ts';
import type { Key, Next, Position } from '../search/walk.ts';
import type { PanelContext } from './guards.ts';
import { type Content, html, type Markup } from './html.ts';
import { guard } from './page.ts';
import type { Session } from './session.ts';

export const ROWS = 50;

export type Column<Row> = { title: string; value: (row: Row) => Content; number?: true };

/** A button below a list that does something with every row selected. */
export type BulkButton = { action: string; label: string; danger?: true };

/** What can be done with the rows selected. */
export type Bulk<Row> = {
  address: string;
  buttons: readonly BulkButton[];
  idOf: (row: Row) => string;
  nameOf: (row: Row) => string;
};

export type List<Row> = {
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  next: Next | null;
  bulk?: Bulk<Row>;
};

/** A table, what can be done with a selection of its rows, and the way to the next page. */
export function list<Row>(
  ctx: PanelContext,
  session: Session,
  { caption, columns, rows, next, bulk }: List<Row>,
): Markup {
  if (rows.length === 0) return html`<p class="card muted">${nothing(ctx, next)}</p>${pager(ctx, next)}`;
  const table = html`<table class="list"><caption class="unseen">${caption}</caption>
<thead><tr>${bulk && html`<td class="pick"></td>`}${columns.map(
    ({ title, number }) => html`<th scope="col"${number && html` class="number"`}>${title}</th>`,
  )}</tr></thead>
<tbody>${rows.map(
    (row) =>
      html`<tr>${
        bulk &&
        html`<td class="pick"><label><input type="checkbox" name="id" value="${bulk.idOf(row)}"><span class="unseen">Select ${bulk.nameOf(row)}</span></label></td>`
      }${columns.map(
        ({ title, value, number }) =>
          html`<td data-title="${title}"${number && html` class="number"`}><div>${value(row)}</div></td>`,
      )}</tr>`,
  )}</tbody></table>`;
  if (!bulk) return html`<div class="card">${table}</div>${pager(ctx, next)}`;
  return html`<form class="card" method="post" action="${bulk.address}" data-bulk>${guard(session)}
<input type="hidden" name="back" value="${ctx.url}">
${table}
<p class="bulk"><span class="muted" data-count>With the selected:</span> ${bulk.buttons.map(
    ({ action, label, danger }) =>
      html`<button name="action" value="${action}" class="${danger ? 'danger' : 'quiet'}">${label}</button>`,
  )}</p>
</form>${pager(ctx, next)}`;
}

function nothing(ctx: PanelContext, next: Next | null): string {
  if (next) return 'Nothing found so far.';
  return ctx.querystring === '' ? 'There is nothing here yet.' : 'Nothing is like that.';
}

function pager(ctx: PanelContext, next: Next | null): Markup {
  const first = ctx.query.after !== undefined && html`<a href="${addressWith(ctx, null)}">First page</a>`;
  const more =
    next &&
    html`${next.why === 'unsearched' && html`<span class="muted">The search has looked at a part only.</span>`}
<a rel="next" href="${addressWith(ctx, next.after)}">${next.why === 'more' ? 'Next page' : 'Search further'}</a>`;
  return html`<p class="pager">${first} ${more}</p>`;
}

function addressWith(ctx: PanelContext, after: Position | null): string {
  const query = new URLSearchParams(ctx.querystring);
  query.delete('after');
  if (after) query.set('after', Buffer.from(JSON.stringify(after)).toString('base64url'));
  return query.size > 0 ? `${ctx.path}?${query}` : ctx.path;
}

const types: Record<Key['type'], z.ZodType<string>> = {
  // As `toISOString` writes it; Postgres has no year 0.
  timestamptz: z.iso.datetime().refine((text) => !text.startsWith('0000')),
  uuid: z.string().refine(isId),
  text: z.string().max(400).refine(isStorableText),
  bigint: z.string().regex(/^\d{1,18}$/),
};

/** Where the page begins, as an earlier page said. Throws `malformed-request`. */
export function positionIn(ctx: PanelContext, keys: readonly Key[]): Position | undefined {
  const text = one(ctx, 'after');
  if (text === undefined) return undefined;
  const [first, ...rest] = keys.map(({ type }) => types[type]);
  try {
    if (first) return z.tuple([first, ...rest]).parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
  } catch (cause) {
    throw new HoplaError('malformed-request', 'The address of this page is damaged.', { cause });
  }
  return undefined;
}

/** A filter as the address has it; undefined when it is left empty. */
export function one(ctx: PanelContext, name: string): string | undefined {
  const value = [ctx.query[name]].flat()[0];
  // Postgres keeps neither in text, so nothing can be found by them.
  return value?.toWellFormed().replaceAll('\0', '').trim() || undefined;
}

export function oneOf<const V extends string>(ctx: PanelContext, name: string, values: readonly V[]): V | undefined {
  const value = one(ctx, name);
  return values.find((known) => known === value);
}

const Day = z.object({ from: TicketQuery.shape.createdFrom, to: TicketQuery.shape.createdTo });

/** The days from and to, both whole, in UTC. */
export function daysIn(ctx: PanelContext): { from: Date | undefined; to: Date | undefined } {
  const { from, to } = Day.safeParse({ from: one(ctx, 'from'), to: one(ctx, 'to') }).data ?? {};
  return { from: from && new Date(from.from), to: to && new Date(to.to) };
}

/** The user that the filter names; null when there is no such user. */
export async function userIn(ctx: PanelContext, db: Database): Promise<{ id: string } | null | undefined> {
  const name = one(ctx, 'user');
  return name === undefined ? undefined : ((await findUser(db, name)) ?? null);
}

/** The filters above a list. They are in the address, so that a list can be kept as a bookmark. */
export function filters(ctx: PanelContext, fields: Content): Markup {
  return html`<form class="card filters" method="get" action="${ctx.path}" role="search">${fields}
<p class="actions"><button class="primary">Find</button> <a href="${ctx.path}">Show all</a></p></form>`;
}

export function textFilter(ctx: PanelContext, name: string, label: string, hint = ''): Markup {
  return html`<label>${label} <input name="${name}" value="${one(ctx, name) ?? ''}" placeholder="${hint}" spellcheck="false" autocapitalize="none"></label>`;
}

export function dayFilters(ctx: PanelContext): Markup {
  return html`<label>From (UTC) <input type="date" name="from" value="${one(ctx, 'from') ?? ''}"></label>
<label>To (UTC) <input type="date" name="to" value="${one(ctx, 'to') ?? ''}"></label>`;
}

/** @param any what to call no choice; without it the first is chosen */
export function choice(
  ctx: PanelContext,
  name: string,
  label: string,
  values: readonly string[],
  any?: string,
): Markup {
  const chosen = one(ctx, name);
  return html`<label>${label} <select name="${name}">${any !== undefined && html`<option value="">${any}</option>`}${values.map(
    (value) => html`<option${value === chosen && html` selected`}>${value}</option>`,
  )}</select></label>`;
}
