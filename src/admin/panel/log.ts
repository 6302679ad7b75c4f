import type { Database } from '../../database/connection.ts';
import { auditActions } from '../operations/audit.ts';
import { changeKeys, changeOrders, type LoggedChange, searchChanges } from '../search/changes.ts';
import { shortId, time, userLink } from './cells.ts';
import type { Show } from './frame.ts';
import type { PanelRoutes } from './guards.ts';
import { type Content, html, type Markup, words } from './html.ts';
import {
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
} from './list.ts';

const columns: Column<LoggedChange>[] = [
  { title: 'When (UTC)', value: ({ at }) => time(at) },
  { title: 'Who', value: who },
  { title: 'What', value: ({ action }) => html`<code>${action}</code>` },
  {
    title: 'Target',
    value: ({ targetKind, targetId }) =>
      html`<a href="/admin/${targetKind}s/${targetId}"><code title="${targetId}">${targetKind} ${shortId(targetId)}</code></a>`,
  },
  { title: 'Before and after', value: difference },
];

/** `GET /admin/log` */
export function logRoute(routes: PanelRoutes, { db, show }: { db: Database; show: Show }): void {
  routes.page('/admin/log', async (ctx, session) => {
    const found = await searchChanges(db, {
      order: oneOf(ctx, 'order', changeOrders),
      limit: ROWS,
      after: positionIn(ctx, changeKeys),
      actor: one(ctx, 'actor'),
      action: oneOf(ctx, 'action', auditActions),
      text: one(ctx, 'q'),
      ...daysIn(ctx),
    });
    show(ctx, session, {
      title: 'Audit log',
      body: html`${filters(
        ctx,
        html`${textFilter(ctx, 'actor', 'Who', 'name, or cli:name')}
${choice(ctx, 'action', 'What', auditActions, 'anything')}
${textFilter(ctx, 'q', 'Search', 'id of the target, or text')}
${dayFilters(ctx)}
${choice(ctx, 'order', 'Order', changeOrders)}`,
      )}${list(ctx, session, { caption: 'Changes by admins', columns, rows: found.items, next: found.next })}`,
    });
  });
}

/** A user may well be called cli:root: the command line has no page. */
function who({ actor, actorUserId }: LoggedChange): Content {
  if (actorUserId !== null) return userLink(actorUserId, actor);
  return html`${words(actor)} <span class="muted">(command line)</span>`;
}

/** What is not the same before and after. */
function difference({ before, after }: LoggedChange): Markup {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])];
  const changed = names.filter((name) => JSON.stringify(before?.[name]) !== JSON.stringify(after?.[name]));
  if (changed.length === 0) return html`<span class="muted">–</span>`;
  const all = changed.map((name) => html`<li><code>${name}</code> ${shown(before, name)} → ${shown(after, name)}</li>`);
  if (changed.length <= 3) return html`<ul class="difference">${all}</ul>`;
  return html`<details><summary>${changed.length} values</summary><ul class="difference">${all}</ul></details>`;
}

function shown(values: Record<string, unknown> | null, name: string): Content {
  const value = values?.[name];
  if (value === undefined || value === null) return html`<span class="muted">nothing</span>`;
  return html`<bdi>${typeof value === 'string' ? value : JSON.stringify(value)}</bdi>`;
}
