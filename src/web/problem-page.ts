import { problems } from '../api-docs/error-catalogue.ts';
import { type ErrorCode, errorKinds } from '../model/errors.ts';
import { escapeHtml } from './document.ts';

export function problemTitle(code: ErrorCode): string {
  return errorKinds[code].title;
}

/** Every code with its meaning, as HTML. */
export function problemList(): string {
  const items = Object.entries(errorKinds).map(
    ([code, { title }]) => `<li><a href="/problems/${code}"><code>${code}</code></a> ${escapeHtml(title)}</li>`,
  );
  return `<h1>Error codes</h1>\n<ul class="codes">\n${items.join('\n')}\n</ul>`;
}

/** What a person reads about an error code, as HTML. */
export function problemBody(code: ErrorCode): string {
  const { title, status } = errorKinds[code];
  const { meaning, remedy } = problems[code];
  return `<h1>${escapeHtml(title)}</h1>
<p class="code"><code>${escapeHtml(code)}</code> <span>HTTP status ${status}</span></p>
<h2>What it means</h2>
<p>${escapeHtml(meaning)}</p>
<h2>What to do</h2>
<p>${escapeHtml(remedy)}</p>`;
}
