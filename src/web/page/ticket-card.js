/** @import { Image } from './wire.d.ts' */
import { el, setText } from './dom.js';
import { formatBytes, formatClock, formatDuration, formatMoment, plural } from './format.js';
import { createPhotoRow } from './photo-row.js';
import { freePlaces } from './ticket.js';

const DRAW_MS = 50;

/**
 * The card beside the chooser: what the ticket has, live.
 *
 * @param {HTMLElement} card
 * @param {ReturnType<typeof import('./ticket.js').createTicket>} model
 * @param {{
 *   previewOf: (image: Image) => string | null,
 *   canShare: (ticketId: string) => boolean,
 *   onShare: () => void,
 *   onCopy: () => void,
 *   onAdd: () => void,
 *   onReplace: (image: Image) => void,
 *   announce: (text: string) => void,
 * }} actions
 */
export function createTicketCard(card, model, actions) {
  const title = el('h2', { id: 'ticket-title' }, 'Ticket');
  const status = el('span', { class: 'status' });
  const empty = el(
    'p',
    { class: 'muted empty' },
    'Choose photos and press upload: a ticket opens for exactly that many, and each photo is followed here until it is delivered.',
  );
  const count = el('p', { class: 'count' });
  const delivered = el('span', { class: 'delivered' });
  const received = el('span', { class: 'received' });
  const bar = el('div', { class: 'bar total', 'aria-hidden': 'true' }, delivered, received);
  const elapsed = el('span', { class: 'elapsed' });
  const delivery = el('span');
  const facts = el('p', { class: 'facts muted' }, elapsed, delivery);
  const refusal = el('strong', { class: 'refusal', hidden: true });
  const room = el('span');
  const places = el('p', { class: 'places' }, refusal, room);
  const copy = el('button', { type: 'button', class: 'quiet', click: actions.onCopy }, 'Copy link');
  const share = el('button', { type: 'button', class: 'quiet', click: actions.onShare }, 'Another phone…');
  const add = el('button', { type: 'button', class: 'quiet', click: actions.onAdd }, 'Add photos');
  const photos = el('ul', { class: 'photos', 'aria-label': 'Photos of this ticket', tabindex: '0' });
  const entries = el('ol', { class: 'log', tabindex: '0', 'aria-label': 'Event log' });
  const journal = el('details', {}, el('summary', {}, 'Event log'), entries);
  const content = el(
    'div',
    { class: 'content', hidden: true },
    count,
    bar,
    facts,
    places,
    el('p', { class: 'actions' }, add, share, copy),
    photos,
    journal,
  );
  card.append(el('header', { class: 'card-head' }, title, status), empty, content);

  /** @type {Map<string, ReturnType<typeof createPhotoRow>>} */
  const rows = new Map();
  /** @type {Map<string, 'first' | 'middle' | 'last'>} */
  const order = new Map();
  let shown = '';
  let said = '';
  let noted = 0;

  const render = () => {
    const ticket = model.current;
    empty.hidden = ticket !== null;
    content.hidden = ticket === null;
    status.hidden = ticket === null;
    if (!ticket) return reset('');
    if (shown !== ticket.id) reset(ticket.id);
    const { counts } = ticket;
    setText(title, ticket.description || 'Ticket');
    setText(status, ticket.status);
    status.dataset.status = ticket.status;
    setText(count, `${counts.stored} of ${plural(counts.expected, 'photo')} delivered`);
    delivered.style.width = `${(counts.stored / counts.expected) * 100}%`;
    received.style.width = `${(counts.received / counts.expected) * 100}%`;
    tick();
    renderPlaces();
    copy.hidden = !actions.canShare(ticket.id);
    share.hidden = !actions.canShare(ticket.id) || ticket.status === 'completed' || ticket.status === 'expired';
    renderPhotos();
    renderLog();
    speak();
  };

  /** @param {string} id */
  const reset = (id) => {
    shown = id;
    said = '';
    noted = 0;
    rows.clear();
    order.clear();
    photos.replaceChildren();
    entries.replaceChildren();
  };

  const tick = () => {
    const ticket = model.current;
    if (!ticket) return;
    const { bytes, status: state, createdAt, expiresAt } = ticket;
    const ended = ticket.completedAt ?? (state === 'expired' ? expiresAt : null);
    const words = ticket.completedAt ? 'Took' : ended ? 'Was open for' : 'Running for';
    const ms = (ended ? Date.parse(ended) : Date.now()) - Date.parse(createdAt);
    setText(elapsed, `${words} ${formatDuration(ms)}`);
    setText(delivery, ` · ${formatBytes(bytes.stored)} of ${formatBytes(bytes.total)} delivered`);
  };

  /** One whose place another photo took needs nobody's attention any more. */
  const refusals = () => {
    const refused = model.images.filter((image) => image.status === 'rejected').length;
    return model.current ? Math.min(refused, freePlaces(model.current)) : 0;
  };

  const renderPlaces = () => {
    const ticket = model.current;
    const free = ticket ? freePlaces(ticket) : 0;
    const refused = refusals();
    places.hidden = free === 0;
    add.hidden = free === 0;
    refusal.hidden = refused === 0;
    setText(refusal, `${plural(refused, 'photo')} not accepted: see below. `);
    if (ticket) setText(room, `${plural(free, 'place')} free until ${formatMoment(ticket.expiresAt)}.`);
  };

  const renderPhotos = () => {
    for (const image of model.images) {
      if (image.status === 'cancelled') {
        rows.get(image.id)?.root.remove();
        rows.delete(image.id);
        continue;
      }
      let row = rows.get(image.id);
      if (!row) {
        row = createPhotoRow(actions.onReplace);
        rows.set(image.id, row);
        photos.append(row.root);
      }
      // What somebody has to look at comes first, and last what needs nobody any more.
      const place = image.status !== 'rejected' ? 'middle' : refusals() > 0 ? 'first' : 'last';
      if (place !== (order.get(image.id) ?? 'middle')) photos[place === 'first' ? 'prepend' : 'append'](row.root);
      order.set(image.id, place);
      row.update(image, model.progressOf(image.id), actions.previewOf(image), {
        replaceable: model.current !== null && freePlaces(model.current) > 0,
      });
    }
    photos.hidden = rows.size === 0;
  };

  const renderLog = () => {
    const log = model.log;
    if (log.length < noted) noted = 0;
    const atEnd = entries.scrollTop + entries.clientHeight >= entries.scrollHeight - 8;
    for (const entry of log.slice(noted === 0 ? 0 : log.indexOf(lastLogged) + 1)) {
      entries.append(el('li', {}, el('time', {}, formatClock(entry.at)), ` ${entry.text}`));
      lastLogged = entry;
    }
    noted = log.length;
    while (entries.children.length > log.length) entries.firstElementChild?.remove();
    if (atEnd) entries.scrollTop = entries.scrollHeight;
  };
  /** @type {import('./ticket.js').LogEntry} */
  let lastLogged = { at: new Date(), text: '' };

  /** Counts are said aloud when they change, and nothing more: percents would drown them. */
  const speak = () => {
    const ticket = model.current;
    if (!ticket) return;
    const rejected = refusals();
    const parts = [
      `${ticket.counts.stored} of ${plural(ticket.counts.expected, 'photo')} delivered`,
      rejected > 0 ? `${rejected} not accepted` : '',
      ticket.status === 'completed' ? 'ticket completed' : '',
    ];
    const text = parts.filter(Boolean).join(', ');
    if (text !== said) actions.announce(text);
    said = text;
  };

  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let rendering;
  // Many photos move at once: what they change is drawn together.
  model.subscribe(() => {
    if (rendering !== undefined) return;
    rendering = setTimeout(() => {
      rendering = undefined;
      render();
    }, DRAW_MS);
  });
  setInterval(tick, 1000);
  render();
  return { render };
}
