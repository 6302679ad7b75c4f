import type { Image, Ticket } from '../../database/models.ts';
import { formatBytes, formatDuration, formatTime } from '../operations/format.ts';
import { type Content, html, type Markup, words } from './html.ts';

/** An error's text without the hint to whoever is at a command line. */
export function plainly(message: string): string {
  return message.replace(/; `[^`]*`.*$/s, '.');
}

export function time(at: Date | null): Content {
  return at ? html`<time datetime="${at.toISOString()}">${formatTime(at)}</time>` : html`<span class="muted">–</span>`;
}

/** A moment, and how far away it is. */
export function timeAndDistance(at: Date | null): Content {
  if (!at) return time(at);
  const ms = at.getTime() - Date.now();
  const distance = ms < 0 ? `${formatDuration(ms)} ago` : `in ${formatDuration(ms)}`;
  return html`${time(at)} UTC <span class="muted">(${distance})</span>`;
}

export function status(text: string): Markup {
  return html`<span class="status" data-status="${text}">${text}</span>`;
}

export function bytes(count: number | null): Content {
  return count === null ? html`<span class="muted">–</span>` : formatBytes(count);
}

/** Ids begin with the time they were made at, so it is their end that tells them apart. */
export function shortId(id: string): string {
  return `…${id.slice(-8)}`;
}

export function ticketLink({ id, description }: Pick<Ticket, 'id' | 'description'>): Markup {
  return html`<a href="/admin/tickets/${id}"><code title="${id}">${shortId(id)}</code>${
    description && html` <bdi>${description}</bdi>`
  }</a>`;
}

export function imageLink({ id, filename }: Pick<Image, 'id' | 'filename'>): Markup {
  return html`<a href="/admin/images/${id}">${filename ? html`<bdi>${filename}</bdi>` : html`<code>${shortId(id)}</code>`}</a>`;
}

export function userLink(id: string, username: string): Markup {
  return html`<a href="/admin/users/${id}">${words(username)}</a>`;
}

export function ticketName({ id, description }: Pick<Ticket, 'id' | 'description'>): string {
  return description ?? shortId(id);
}
