/** @import { Client } from 'hopla/client' */
/** @import { Ticket } from './wire.d.ts' */
import { ProblemError } from 'hopla/client';
import { byId, el, setText } from './dom.js';
import { matches, readFilters, toQuery, wireFilters } from './filters.js';
import { formatBytes, formatMoment, plural } from './format.js';

/**
 * The user's tickets, newest first, more on scroll, kept up to date by events.
 *
 * @param {{ client: Client, onSelect: (ticketId: string) => void, onRefused: () => void }} options
 */
export function createTicketList({ client, onSelect, onRefused }) {
  const list = byId('ticket-rows');
  const state = byId('ticket-rows-state');
  const more = byId('more-tickets');
  let filters = readFilters();
  /** @type {Map<string, { ticket: Ticket, row: ReturnType<typeof createRow> }>} */
  const rows = new Map();
  /** @type {string | null} */
  let cursor = null;
  let loading = new AbortController();
  let busy = false;
  let current = '';

  /** @param {Ticket} ticket */
  const put = (ticket) => {
    const known = rows.get(ticket.id);
    if (known && known.ticket.version > ticket.version) return;
    if (!matches(ticket, filters)) {
      known?.row.root.remove();
      rows.delete(ticket.id);
    } else if (known) {
      known.ticket = ticket;
      known.row.update(ticket);
    } else {
      const row = createRow(ticket, onSelect);
      row.mark(ticket.id === current);
      const older = [...rows.values()].find((other) => isNewer(ticket, other.ticket));
      rows.set(ticket.id, { ticket, row });
      if (older) {
        older.row.root.before(row.root);
        sortRows();
      } else list.append(row.root);
    }
  };

  const sortRows = () => {
    const sorted = [...rows.entries()].sort(([, a], [, b]) => (isNewer(a.ticket, b.ticket) ? -1 : 1));
    rows.clear();
    for (const [id, entry] of sorted) rows.set(id, entry);
  };

  const describe = () => {
    more.hidden = cursor === null;
    const shown =
      rows.size === 0 ? 'No tickets.' : `${plural(rows.size, 'ticket')} shown${cursor ? ', there are more.' : '.'}`;
    setText(state, shown);
  };

  /** @param {string | null} from a cursor, or null for the first page */
  const load = async (from) => {
    if (busy && from !== null) return;
    if (from === null) loading.abort();
    const mine = new AbortController();
    loading = mine;
    busy = true;
    list.setAttribute('aria-busy', 'true');
    try {
      const page = await client.tickets(toQuery(filters, from), { signal: mine.signal });
      cursor = from === null && rows.size > page.items.length ? cursor : page.nextCursor;
      for (const ticket of page.items) put(ticket);
      describe();
      watchForMore();
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof ProblemError && error.status === 401) onRefused();
      else setText(state, /** @type {Error} */ (error).message);
    } finally {
      if (loading === mine) {
        busy = false;
        list.removeAttribute('aria-busy');
      }
    }
  };

  /** Observed anew, it is told at once if the end is in view still: what it asked for may have been given up for a refresh. */
  const watchForMore = () => {
    inView.unobserve(more);
    inView.observe(more);
  };

  const restart = () => {
    filters = readFilters();
    rows.clear();
    list.replaceChildren();
    cursor = null;
    load(null);
  };

  wireFilters(restart);
  const loadMore = () => cursor && load(cursor);
  more.addEventListener('click', loadMore);
  const inView = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && loadMore(), {
    rootMargin: '200px',
  });

  return {
    /** Reads the newest page again, after events may have been missed. */
    refresh: () => load(null),
    /** The address changed by going back or forward. */
    restart,
    /** A change of a ticket. @param {Ticket} ticket */
    apply(ticket) {
      const last = [...rows.values()].at(-1)?.ticket;
      // What is older than the last row comes when it is scrolled to.
      if (!rows.has(ticket.id) && cursor !== null && last && isNewer(last, ticket)) return;
      put(ticket);
      describe();
    },
    /** Marks the ticket that is shown above. @param {string} ticketId */
    select(ticketId) {
      current = ticketId;
      for (const [id, { row }] of rows) row.mark(id === ticketId);
    },
  };
}

/** @param {Ticket} a @param {Ticket} b */
function isNewer(a, b) {
  return a.createdAt === b.createdAt ? a.id > b.id : a.createdAt > b.createdAt;
}

/** @param {Ticket} first @param {(ticketId: string) => void} onSelect */
function createRow(first, onSelect) {
  const name = el('span', { class: 'name' });
  const status = el('span', { class: 'status' });
  const delivered = el('span', { class: 'delivered' });
  const received = el('span', { class: 'received' });
  const count = el('span', { class: 'count' });
  const link = el(
    'a',
    {
      href: `?ticket=${encodeURIComponent(first.id)}`,
      click(event) {
        event.preventDefault();
        onSelect(first.id);
      },
    },
    name,
    status,
    el('span', { class: 'bar', 'aria-hidden': 'true' }, delivered, received),
    count,
    el('time', { datetime: first.createdAt, class: 'muted' }, formatMoment(first.createdAt)),
  );
  const root = el('li', {}, link);
  const row = {
    root,
    /** @param {Ticket} ticket */
    update({ description, status: state, counts, bytes }) {
      setText(name, description || plural(counts.expected, 'photo'));
      setText(status, state);
      status.dataset.status = state;
      setText(
        count,
        `${counts.stored} of ${counts.expected} delivered${bytes.total ? `, ${formatBytes(bytes.total)}` : ''}`,
      );
      delivered.style.width = `${(counts.stored / counts.expected) * 100}%`;
      received.style.width = `${(counts.received / counts.expected) * 100}%`;
    },
    /** @param {boolean} shown */
    mark(shown) {
      if (shown) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    },
  };
  row.update(first);
  return row;
}
