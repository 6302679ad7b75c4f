import { escapeHtml } from '../../web/document.ts';

/** HTML that is safe to put into a page. Only `html` makes it. */
export class Markup {
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  toString(): string {
    return this.#text;
  }
}

export type Content = Markup | string | number | null | undefined | false | readonly Content[];

/**
 * Makes HTML of a template. Every value is text and is escaped, for elements and for quoted attributes; what is already
 * markup stays, lists are joined, and `null`, `undefined` and `false` are nothing.
 */
export function html(strings: TemplateStringsArray, ...values: readonly Content[]): Markup {
  return new Markup(strings.map((part, index) => part + (index < values.length ? render(values[index]) : '')).join(''));
}

function render(value: Content): string {
  if (value === null || value === undefined || value === false) return '';
  if (value instanceof Markup) return value.toString();
  if (typeof value === 'object') return value.map(render).join('');
  return escapeHtml(String(value));
}

/** Text of a user: its writing direction, or characters that turn it around, reach nothing beside it. */
export function words(text: string | null): Content {
  return text === null || text === '' ? html`<span class="muted">–</span>` : html`<bdi>${text}</bdi>`;
}

/** A link to another host, if it is one that a browser would fetch and not run. */
export function outside(url: string | null): Content {
  const protocol = url === null ? null : URL.parse(url)?.protocol;
  if (protocol !== 'https:' && protocol !== 'http:') return words(url);
  return html`<a href="${url}" rel="noreferrer">${url}</a>`;
}
