/** @import { Detail, LiveEvent, Visitor } from './wire.d.ts' */
import { createClient, ProblemError } from 'hopla/client';
import { addressedTicket, addressTicket } from './address.js';
import { createDesk } from './desk.js';
import { byId, setText } from './dom.js';
import { readFilters, showFilters } from './filters.js';
import { plural } from './format.js';
import { follow } from './live.js';
import { announce, notice } from './notice.js';
import { forgetSession, uploadTokens } from './session.js';
import { askToSignIn } from './sign-in.js';
import { createTicketList } from './ticket-list.js';

/**
 * The page of somebody who has signed in: a new ticket for each upload, and the list of all of them.
 *
 * @param {Extract<Visitor, { kind: 'user' }>} user
 * @param {{ id: string, keeps: boolean }} kept
 */
export function startUser({ token, username }, kept) {
  const client = createClient({ url: location.origin, token });
  const tokens = uploadTokens();
  /** A ticket whose state is being fetched: events that are newer than the answer are applied after it. @type {{ ticketId: string, events: LiveEvent[] } | null} */
  let arriving = null;
  const desk = createDesk({
    kept,
    openTicket,
    // A ticket's own token outlives the session: an upload does not end because that did.
    tokenOf: (ticketId) => tokens.find(ticketId) ?? token,
    shareTokenOf: tokens.find,
    onRestored(ticketIds) {
      const [first] = ticketIds;
      if (first && !addressedTicket()) select(first, false);
      for (const ticketId of ticketIds) catchUp(ticketId);
    },
    onDone() {
      desk.uploader.clear();
      leave();
    },
  });
  const list = createTicketList({ client, onSelect: (ticketId) => select(ticketId, true), onRefused: endSession });
  const stream = follow('/v1/events', token, {
    onOpen() {
      desk.model.note('Live view connected');
      const shown = addressedTicket();
      if (shown) select(shown, false);
      for (const ticketId of desk.uploader.unsettledTickets) catchUp(ticketId);
      list.refresh();
    },
    onEvent,
    onLost: () => desk.model.note('Live view interrupted, connecting again'),
    onRefused: endSession,
  });
  byId('tickets').hidden = false;
  byId('account').hidden = false;
  setText(byId('account-name'), username);
  byId('sign-out').addEventListener('click', signOut);
  window.addEventListener('popstate', () => {
    showFilters(readFilters());
    list.restart();
    const shown = addressedTicket();
    if (shown) select(shown, false);
    else leave();
  });

  /** @param {LiveEvent} event */
  function onEvent(event) {
    if (event.type !== 'snapshot' && event.data.ticketId === arriving?.ticketId) arriving.events.push(event);
    desk.apply(event);
    if (event.type === 'ticket') list.apply(event.data);
  }

  /** Shows a ticket. @param {string} ticketId @param {boolean} keepHistory */
  async function select(ticketId, keepHistory) {
    const waiting = { ticketId, events: /** @type {LiveEvent[]} */ ([]) };
    arriving = waiting;
    address(ticketId, keepHistory);
    try {
      const detail = await fetchDetail(ticketId);
      if (arriving !== waiting) return;
      desk.model.show(detail);
      waiting.events.forEach(desk.model.apply);
      if (keepHistory) byId('ticket').scrollIntoView({ block: 'nearest' });
    } catch (error) {
      if (error instanceof ProblemError && error.status === 401) endSession();
      else if (error instanceof ProblemError && error.status === 404) leave();
      else desk.model.note(/** @type {Error} */ (error).message);
    } finally {
      if (arriving === waiting) arriving = null;
    }
  }

  /** Tells the uploader about photos that went on while nobody listened. @param {string} ticketId */
  async function catchUp(ticketId) {
    // Offline, or the ticket is gone: the next connection tries again.
    if (ticketId !== arriving?.ticketId) await fetchDetail(ticketId).catch(() => {});
  }

  /** @param {string} ticketId @returns {Promise<Detail>} */
  async function fetchDetail(ticketId) {
    const detail = await client.ticket(ticketId);
    detail.images.forEach(desk.uploader.note);
    return detail;
  }

  /** @param {number} images @param {string} key */
  async function openTicket(images, key) {
    const { uploadToken, ...ticket } = await client.openTicket({ images }, { idempotencyKey: key });
    tokens.keep(ticket.id, uploadToken);
    desk.model.show({ ...ticket, images: [] });
    list.apply(ticket);
    address(ticket.id, true);
    announce(`Ticket open for ${plural(images, 'photo')}`);
    return ticket.id;
  }

  /** @param {string | null} ticketId @param {boolean} keepHistory */
  function address(ticketId, keepHistory) {
    list.select(ticketId ?? '');
    addressTicket(ticketId, keepHistory);
  }

  function leave() {
    arriving = null;
    desk.model.clear();
    address(null, true);
  }

  async function signOut() {
    if (desk.uploader.busy && !confirm('Photos are still being uploaded. Sign out and stop them?')) return;
    stream.close();
    desk.uploader.cancel();
    // Without an answer the token still ends by itself; here it is forgotten in any case.
    await client.logout().catch(() => {});
    forgetSession();
    location.assign('/');
  }

  function endSession() {
    stream.close();
    forgetSession();
    notice('Your session has ended. Sign in again; your photos are kept.');
    askToSignIn();
  }
}
