/** @import { Image, LiveEvent, Visitor } from './wire.d.ts' */
import { ApiError, callApi } from './api.js';
import { byId, pageSetting, setText } from './dom.js';
import { readFilters, showFilters } from './filters.js';
import { plural } from './format.js';
import { follow } from './live.js';
import { findVisitor, forgetSession, uploadTokens } from './session.js';
import { copyText, createShareDialog, shareLink } from './share.js';
import { askToSignIn } from './sign-in.js';
import { createTicket, freePlaces } from './ticket.js';
import { createTicketCard } from './ticket-card.js';
import { createTicketList } from './ticket-list.js';
import { createUploader } from './uploader.js';

const visitor = findVisitor();
watchConnection();
document.querySelector('.skip')?.addEventListener('click', (event) => {
  // Not by its address: the fragment may hold a guest's token.
  event.preventDefault();
  byId('main').focus();
});
window.addEventListener('hashchange', () => location.reload());
if (visitor) startWork(visitor);
else askToSignIn();

/** @param {string} text */
function announce(text) {
  byId('announcer').textContent = text;
}

/** @param {string} text empty: there is nothing to say */
function notice(text) {
  const line = byId('notice');
  line.hidden = text === '';
  setText(line, text);
}

function watchConnection() {
  const tell = () =>
    notice(navigator.onLine ? '' : 'You are offline. Uploads wait, and go on by themselves once you are back.');
  window.addEventListener('online', tell);
  window.addEventListener('offline', tell);
  tell();
}

/** @param {Visitor} visitor */
function startWork(visitor) {
  const guest = visitor.kind === 'guest' ? visitor : null;
  const tokens = uploadTokens();
  const model = createTicket();
  const share = createShareDialog(announce);
  byId('workspace').hidden = false;

  const uploader = createUploader({
    id: `hopla-${guest ? guest.ticketId : visitor.kind === 'user' && visitor.username}`,
    target: byId('dashboard'),
    maxImageBytes: Number(pageSetting('max-image-bytes')),
    accept: pageSetting('accept'),
    openTicket: guest ? takePlaces : openTicket,
    tokenOf: (ticketId) => (guest ? guest.token : (tokens.find(ticketId) ?? visitor.token)),
    onRestored(ticketIds) {
      const [first] = ticketIds;
      if (first && !model.current && !shownTicket()) select(first, false);
      for (const ticketId of ticketIds) catchUp(ticketId);
    },
    onDone() {
      uploader.clear();
      if (!guest) leaveTicket();
    },
  });

  createTicketCard(byId('ticket'), model, {
    previewOf: uploader.previewOf,
    canShare: (ticketId) => guest !== null || tokens.find(ticketId) !== undefined,
    onShare: () => share.open(currentLink()),
    async onCopy() {
      if (await copyText(currentLink())) announce('Link copied');
      else share.open(currentLink());
    },
    onAdd: () => choose(null),
    onReplace: (image) => choose(image),
    announce,
  });

  const list = guest
    ? null
    : createTicketList({
        token: visitor.token,
        onSelect: (ticketId) => select(ticketId, true),
        onRefused: sessionEnded,
      });

  const stream = follow(guest ? `/v1/tickets/${guest.ticketId}/events` : '/v1/events', visitor.token, {
    onOpen() {
      model.note('Live view connected');
      const wanted = shownTicket();
      if (wanted && !guest) select(wanted, false);
      for (const ticketId of uploader.unsettledTickets) catchUp(ticketId);
      list?.refresh();
    },
    onEvent,
    onLost: () => model.note('Live view interrupted, connecting again'),
    onRefused: guest ? () => notice('This link does not work any more. Ask for a new one.') : sessionEnded,
  });

  wireAddingTo();
  if (guest) byId('choose-title').textContent = 'Add photos to this ticket';
  else wireAccount();

  /** @param {LiveEvent} event */
  function onEvent(event) {
    const ticketId = event.type === 'snapshot' ? event.data.id : event.data.ticketId;
    if (ticketId === arriving?.ticketId) arriving.events.push(event);
    model.apply(event);
    if (event.type === 'image') uploader.note(event.data);
    if (event.type === 'snapshot') event.data.images.forEach(uploader.note);
    if (event.type === 'progress') uploader.noteProgress(event.data);
    if (event.type === 'ticket') list?.apply(event.data);
  }

  /** Events of a ticket whose state is being fetched: what is newer than the answer is applied after it. @type {{ ticketId: string, events: LiveEvent[] } | null} */
  var arriving = null;

  /** Shows a ticket. @param {string} ticketId @param {boolean} keepHistory whether going back returns to the one before */
  async function select(ticketId, keepHistory) {
    const waiting = { ticketId, events: /** @type {LiveEvent[]} */ ([]) };
    arriving = waiting;
    showAddress(ticketId, keepHistory);
    try {
      const detail = await callApi('GET', `/v1/tickets/${ticketId}`, { token: visitor.token });
      if (arriving !== waiting) return;
      model.show(detail);
      detail.images.forEach(uploader.note);
      waiting.events.forEach(model.apply);
      if (keepHistory) byId('ticket').scrollIntoView({ block: 'nearest' });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) sessionEnded();
      else if (error instanceof ApiError && error.status === 404) leaveTicket();
      else model.note(/** @type {Error} */ (error).message);
    } finally {
      if (arriving === waiting) arriving = null;
    }
  }

  /** Tells the uploader about photos that went on while nobody listened. @param {string} ticketId */
  async function catchUp(ticketId) {
    if (guest || ticketId === arriving?.ticketId) return;
    try {
      const detail = await callApi('GET', `/v1/tickets/${ticketId}`, { token: visitor.token });
      detail.images.forEach(uploader.note);
    } catch (error) {
      // Offline, or the ticket is gone: the next connection tries again.
      model.note(/** @type {Error} */ (error).message);
    }
  }

  /** @param {number} images @param {string} key */
  async function openTicket(images, key) {
    const opened = await callApi('POST', '/v1/tickets', {
      token: visitor.token,
      body: { images },
      headers: { 'Idempotency-Key': key },
    });
    const { uploadToken, ...ticket } = opened;
    tokens.keep(ticket.id, uploadToken);
    model.show({ ...ticket, images: [] });
    list?.apply(ticket);
    showAddress(ticket.id, true);
    announce(`Ticket open for ${plural(images, 'photo')}`);
    return ticket.id;
  }

  /** A guest opens no ticket: there must be room in this one. @param {number} images */
  async function takePlaces(images) {
    const free = model.current ? freePlaces(model.current) : 0;
    if (images > free)
      throw new Error(
        free === 0
          ? 'Every place of this ticket is taken.'
          : `This ticket has ${plural(free, 'place')} left: remove ${plural(images - free, 'photo')}.`,
      );
    return /** @type {NonNullable<typeof guest>} */ (guest).ticketId;
  }

  function currentLink() {
    const ticketId = model.current?.id ?? '';
    return shareLink(ticketId, guest ? guest.token : (tokens.find(ticketId) ?? ''));
  }

  function shownTicket() {
    return guest ? guest.ticketId : new URLSearchParams(location.search).get('ticket');
  }

  /** @param {string | null} ticketId @param {boolean} keepHistory */
  function showAddress(ticketId, keepHistory) {
    if (guest) return;
    list?.select(ticketId ?? '');
    if (shownTicket() === ticketId) return;
    const url = new URL(location.href);
    if (ticketId) url.searchParams.set('ticket', ticketId);
    else url.searchParams.delete('ticket');
    if (keepHistory) history.pushState(null, '', url);
    else history.replaceState(null, '', url);
  }

  function leaveTicket() {
    arriving = null;
    model.clear();
    showAddress(null, true);
  }

  /** Lets the user choose photos for the ticket that is shown. @param {Image | null} replaced */
  function choose(replaced) {
    const input = byId('more-photos', HTMLInputElement);
    input.multiple = replaced === null;
    input.value = '';
    input.dataset.slot = replaced?.slot ?? '';
    input.click();
  }

  function wireAddingTo() {
    const input = byId('more-photos', HTMLInputElement);
    input.addEventListener('change', () => {
      const ticketId = model.current?.id;
      if (ticketId && input.files?.length)
        uploader.addTo(input.files, ticketId, input.dataset.slot || null).catch(() => {});
    });
  }

  function wireAccount() {
    if (visitor.kind !== 'user') return;
    byId('tickets').hidden = false;
    byId('account').hidden = false;
    setText(byId('account-name'), visitor.username);
    byId('sign-out').addEventListener('click', async () => {
      if (uploader.busy && !confirm('Photos are still being uploaded. Sign out and stop them?')) return;
      stream.close();
      uploader.cancel();
      await callApi('POST', '/v1/auth/logout', { token: visitor.token }).catch(() => {});
      forgetSession();
      location.assign('/');
    });
    window.addEventListener('popstate', () => {
      showFilters(readFilters());
      list?.restart();
      const wanted = shownTicket();
      if (wanted) select(wanted, false);
      else leaveTicket();
    });
  }

  function sessionEnded() {
    stream.close();
    forgetSession();
    notice('Your session has ended. Sign in again; your photos are kept.');
    askToSignIn();
  }
}
