import type { Database } from '../../database/connection.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import type { Actor } from '../operations/audit.ts';
import { plainly } from './cells.ts';
import { field } from './form.ts';
import type { Show } from './frame.ts';
import type { PanelRoutes } from './guards.ts';
import { type Content, html, type Markup } from './html.ts';
import { guard } from './page.ts';
import { leaveNotice, type Session } from './session.ts';
import { goTo, ownPath } from './sign-in.ts';

/** Something that an admin does with one or many things of a kind. */
export type Action = {
  /** As in "12 tickets expired". */
  done: string;
  /** Asked before it is done; without it nobody is asked. */
  question?: { title: string; text: string; button: string; options?: Content };
  /** What it answers is told only where it differs from `done`. Throws `HoplaError` for what cannot be done. */
  perform(id: string, by: Actor, form: URLSearchParams): Promise<string | undefined>;
};

export type Kind = {
  /** The address below /admin, and the plural. */
  name: 'tickets' | 'images' | 'users' | 'tokens';
  singular: string;
  actions: Record<string, Action>;
  /** Names for ids; what is not there any more is left out. */
  describe(ids: string[]): Promise<Map<string, string>>;
};

/** Twice a page of a list. */
const MOST = 100;
/** What takes longer is left, and said: a browser, or a proxy, gives up after about a minute. */
const WORKING_MS = 20_000;

/** `POST /admin/<kind>/act`: does something with what the form selects, after a yes where it cannot be undone. */
export function actRoute(routes: PanelRoutes, deps: { db: Database; show: Show }, kind: Kind): void {
  routes.form(`/admin/${kind.name}/act`, async (ctx, session, form) => {
    const action = Object.entries(kind.actions).find(([name]) => name === field(form, 'action'))?.[1];
    const ids = [...new Set(form.getAll('id'))].filter(isId).slice(0, MOST);
    const back = ownPath(field(form, 'back'));
    if (!action) throw new HoplaError('malformed-request', 'The panel has no such action.');
    if (ids.length === 0) {
      await leaveNotice(deps.db, session.secret, { kind: 'problem', text: 'Nothing was selected.', lines: [] });
      return goTo(ctx, back);
    }
    const names = await kind.describe(ids);
    if (action.question && form.get('sure') !== 'yes') {
      const body = confirmation({ session, kind, question: action.question, names, form, back });
      return deps.show(ctx, session, { title: action.question.title, body });
    }
    const notice = await performAll(kind, action, names, session.by, form);
    ctx.state.log.info({ action: field(form, 'action'), kind: kind.name, ids }, 'an admin acted');
    await leaveNotice(deps.db, session.secret, notice);
    goTo(ctx, back);
  });
}

type Asking = {
  session: Session;
  kind: Kind;
  question: NonNullable<Action['question']>;
  names: Map<string, string>;
  form: URLSearchParams;
  back: string;
};

function confirmation({ session, kind, question, names, form, back }: Asking): Markup {
  const count = `${names.size} ${names.size === 1 ? kind.singular : kind.name}`;
  return html`<form class="card stack" method="post" action="/admin/${kind.name}/act">${guard(session)}
<input type="hidden" name="action" value="${form.get('action')}">
<input type="hidden" name="back" value="${back}">
<input type="hidden" name="sure" value="yes">
<p>${question.text}</p>
<p><strong>${count}:</strong></p>
<ul class="selected">${[...names].map(
    ([id, name]) => html`<li><input type="hidden" name="id" value="${id}"><bdi>${name}</bdi> <code>${id}</code></li>`,
  )}</ul>
${question.options}
<p class="actions"><button class="danger">${question.button}</button> <a href="${back}">No, go back</a></p>
</form>`;
}

async function performAll(
  kind: Kind,
  action: Action,
  names: Map<string, string>,
  by: Actor,
  form: URLSearchParams,
): Promise<Session['notice'] & object> {
  const deadline = performance.now() + WORKING_MS;
  const lines: string[] = [];
  let done = 0;
  let left = 0;
  for (const [id, name] of names) {
    if (performance.now() > deadline) {
      left += 1;
      continue;
    }
    try {
      const remark = await action.perform(id, by, form);
      if (remark === undefined) done += 1;
      else lines.push(`${name}: ${remark}`);
    } catch (error) {
      // One that cannot be done is no reason to leave out the others; what is our own fault is for the log.
      if (!(error instanceof HoplaError)) throw error;
      lines.push(`${name}: ${plainly(error.message)}`);
    }
  }
  if (left > 0) lines.push(`${left} more were left for lack of time; select them again.`);
  const text = `${done} ${done === 1 ? kind.singular : kind.name} ${action.done}.`;
  return { kind: lines.length > 0 ? 'problem' : 'done', text, lines };
}
