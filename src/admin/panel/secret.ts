import { html, type Markup } from './html.ts';

/** A page with something that is kept nowhere: closed, it is gone. */
export function secretPage({
  title,
  label,
  secret,
  back,
}: {
  title: string;
  label: string;
  secret: string;
  back: Markup;
}) {
  return {
    title,
    body: html`<section class="card stack narrow">
<p class="notice done" role="status">This is the only time that it is shown. Keep it now.</p>
<label>${label} <input class="code" readonly value="${secret}" data-copy></label>
<p>${back}</p>
</section>`,
  };
}
