import { z } from 'zod';
import type { Database } from '../../database/connection.ts';
import { isStorableText, parseInput, UNSTORABLE } from '../../http/json-body.ts';
import { HoplaError } from '../../model/errors.ts';
import { issueTokenFor } from '../operations/tokens.ts';
import { plainly } from './cells.ts';
import { field } from './form.ts';
import type { Show } from './frame.ts';
import type { PanelContext, PanelRoutes } from './guards.ts';
import { html } from './html.ts';
import { one } from './list.ts';
import { guard, problem } from './page.ts';
import { secretPage } from './secret.ts';
import type { Session } from './session.ts';

const DAY_SECONDS = 86_400;
/** How long a token can live, in seconds; the empty one leaves it to the ticket, or is for ever. */
const lives = {
  '': 'until it is revoked; an upload token as long as its ticket’s others',
  [DAY_SECONDS]: 'a day',
  [7 * DAY_SECONDS]: 'a week',
  [30 * DAY_SECONDS]: '30 days',
  [365 * DAY_SECONDS]: 'a year',
};

const Wanted = z.object({
  username: z.string().min(1, 'must be given').refine(isStorableText, UNSTORABLE),
  label: z.string().max(255, 'must have at most 255 characters').refine(isStorableText, UNSTORABLE),
  ticket: z.string().transform((text) => text.trim().toLowerCase()),
  life: z.enum(Object.keys(lives)).transform(Number),
});

/** `GET` and `POST /admin/tokens/new` */
export function tokenIssueRoutes(routes: PanelRoutes, { db, show }: { db: Database; show: Show }): void {
  const showForm = (ctx: PanelContext, session: Session, refused: { form: URLSearchParams; detail: string } | null) => {
    const value = (name: string) => refused?.form.get(name) ?? one(ctx, name) ?? '';
    const life = value('life');
    show(ctx, session, {
      title: 'Issue a token',
      status: refused ? 422 : 200,
      body: html`<form class="card stack narrow" method="post" action="/admin/tokens/new">${guard(session)}
${problem(refused?.detail ?? null)}
<label>User <input name="user" required maxlength="100" value="${value('user')}" autocapitalize="none" spellcheck="false"></label>
<label>Label <input name="label" maxlength="255" value="${value('label')}"><small>What it is for.</small></label>
<label>Valid <select name="life">${Object.entries(lives).map(
        ([seconds, name]) => html`<option value="${seconds}"${seconds === life && html` selected`}>${name}</option>`,
      )}</select></label>
<label>Ticket <input name="ticket" maxlength="36" value="${value('ticket')}" spellcheck="false"><small>The id of a ticket makes it an upload token, for that one alone.</small></label>
<p class="actions"><button class="primary">Issue</button></p>
</form>`,
    });
  };

  routes.page('/admin/tokens/new', (ctx, session) => showForm(ctx, session, null));

  routes.form('/admin/tokens/new', async (ctx, session, form) => {
    try {
      const { username, label, ticket, life } = parseInput(Wanted, {
        username: field(form, 'user').trim(),
        label: field(form, 'label').trim(),
        ticket: field(form, 'ticket'),
        life: field(form, 'life'),
      });
      const { token, issued } = await issueTokenFor(db, session.by, {
        username,
        ...(label ? { label } : {}),
        ...(life ? { expiresIn: life } : {}),
        ...(ticket ? { ticketId: ticket } : {}),
      });
      ctx.state.log.info({ tokenId: issued.id, for: issued.username }, 'token issued in the admin panel');
      show(
        ctx,
        session,
        secretPage({
          title: 'New token',
          label: `Token of ${issued.username}`,
          secret: token,
          back: html`<a href="/admin/tokens/${issued.id}">To the token</a>`,
        }),
      );
    } catch (error) {
      if (!(error instanceof HoplaError) || error.status >= 500) throw error;
      showForm(ctx, session, { form, detail: plainly(error.message) });
    }
  });
}
