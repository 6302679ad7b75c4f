import type { Ticket } from '../../database/models.ts';
import { withUnixBreaks } from './form.ts';
import { html, type Markup } from './html.ts';
import { guard } from './page.ts';
import type { Session } from './session.ts';

/** What an admin can change of a ticket, as text in a form. */
export type Edited = { description: string; metadata: string; images: string; expires: string };

export function editedOf({ description, metadata, expected, expiresAt }: Ticket): Edited {
  return {
    description: withUnixBreaks(description ?? ''),
    metadata: metadata === null ? '' : JSON.stringify(metadata, null, 2),
    images: `${expected}`,
    expires: expiresAt.toISOString().slice(0, 19),
  };
}

/**
 * The form, and with each value the one that it began with: only what differs is a change. The line break after
 * `<textarea>` is for the parser of HTML, which takes the first one away.
 */
export function formOf(session: Session, ticket: Ticket, edited: Edited): Markup {
  const was = Object.entries(editedOf(ticket)).map(
    ([name, value]) => html`<input type="hidden" name="was-${name}" value="${value}">`,
  );
  return html`<form class="stack" method="post" action="/admin/tickets/${ticket.id}">${guard(session)}${was}
<label>Description <textarea name="description" rows="2" maxlength="255">
${edited.description}</textarea></label>
<label>Metadata (JSON) <textarea name="metadata" rows="5" spellcheck="false" class="code">
${edited.metadata}</textarea></label>
<label>Number of images <input name="images" type="number" min="${Math.max(ticket.claimed, 1)}" max="1000" required value="${edited.images}">
<small>${ticket.claimed} places are taken; fewer is not possible.</small></label>
<label>Expires (UTC) <input name="expires" type="datetime-local" step="1" required value="${edited.expires}">
<small>A new time opens an expired ticket again.</small></label>
<p class="actions"><button class="primary">Save</button></p>
</form>`;
}
