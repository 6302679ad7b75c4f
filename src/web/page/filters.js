/** @import { TicketQuery } from 'hopla/client' */
/** @import { Ticket } from './wire.d.ts' */
import { byId } from './dom.js';

/** @typedef {{ statuses: Ticket['status'][], from: string, to: string }} Filters days are YYYY-MM-DD in the time zone of the browser */

const PAGE = 20;

/** The filters in the page's address. @returns {Filters} */
export function readFilters() {
  const query = new URLSearchParams(location.search);
  const statuses = (query.get('status') ?? '').split(',').filter(isStatus);
  return { statuses, from: day(query.get('from')), to: day(query.get('to')) };
}

/** Keeps form and address in step; `onChange` runs after each change by the user. @param {() => void} onChange */
export function wireFilters(onChange) {
  const form = byId('filters', HTMLFormElement);
  showFilters(readFilters());
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('change', () => {
    const data = new FormData(form);
    writeFilters({
      statuses: data.getAll('status').map(String).filter(isStatus),
      from: `${data.get('from')}`,
      to: `${data.get('to')}`,
    });
    onChange();
  });
  form.addEventListener('reset', () => {
    writeFilters({ statuses: [], from: '', to: '' });
    onChange();
    // What is gone cannot keep the focus.
    inputs()[0]?.focus();
  });
}

/** @param {Filters} filters */
export function showFilters({ statuses, from, to }) {
  for (const input of inputs()) input.checked = statuses.some((status) => status === input.value);
  offerAll({ statuses, from, to });
  const form = byId('filters', HTMLFormElement);
  for (const [name, value] of Object.entries({ from, to })) {
    const field = form.elements.namedItem(name);
    if (field instanceof HTMLInputElement) field.value = value;
  }
}

/** @param {Filters} filters */
function writeFilters({ statuses, from, to }) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries({ status: statuses.join(','), from, to })) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  history.replaceState(null, '', url);
  offerAll({ statuses, from, to });
}

/** Shows the way back to all tickets, where not all are shown. @param {Filters} filters */
function offerAll({ statuses, from, to }) {
  byId('all-tickets').hidden = statuses.length === 0 && from === '' && to === '';
}

/**
 * The query of the API for these filters.
 *
 * @param {Filters} filters
 * @param {string | null} cursor
 * @returns {TicketQuery}
 */
export function toQuery(filters, cursor) {
  const { since, until } = span(filters);
  return {
    limit: PAGE,
    status: filters.statuses,
    ...(since ? { createdFrom: since } : {}),
    ...(until ? { createdTo: until } : {}),
    ...(cursor ? { cursor } : {}),
  };
}

/** @param {Ticket} ticket @param {Filters} filters */
export function matches(ticket, filters) {
  const { since, until } = span(filters);
  const created = ticket.createdAt;
  return (
    (filters.statuses.length === 0 || filters.statuses.includes(ticket.status)) &&
    (since === null || created >= since) &&
    (until === null || created <= until)
  );
}

/** From the beginning of the first day to the end of the last, where the user is. @param {Filters} filters */
function span({ from, to }) {
  return {
    since: from ? new Date(`${from}T00:00:00`).toISOString() : null,
    until: to ? new Date(`${to}T23:59:59.999`).toISOString() : null,
  };
}

/** @param {string} text @returns {text is Ticket['status']} */
function isStatus(text) {
  return inputs().some(({ value }) => value === text);
}

/** @param {string | null} text */
function day(text) {
  return text && /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)) ? text : '';
}

/** @returns {HTMLInputElement[]} */
function inputs() {
  return [...byId('filters').querySelectorAll('input')].filter((input) => input.name === 'status');
}
