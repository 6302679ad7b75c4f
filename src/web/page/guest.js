/** @import { Visitor } from './wire.d.ts' */
import { createDesk } from './desk.js';
import { byId, setText } from './dom.js';
import { plural } from './format.js';
import { follow } from './live.js';
import { notice } from './notice.js';
import { freePlaces } from './ticket.js';

/**
 * The page of somebody with a link to one ticket: its photos, and room for more, without signing in.
 *
 * @param {Extract<Visitor, { kind: 'guest' }>} guest
 * @param {{ id: string, keeps: boolean }} kept
 */
export function startGuest({ ticketId, token }, kept) {
  setText(byId('choose-title'), 'Add photos to this ticket');
  const desk = createDesk({
    kept,
    openTicket: takePlaces,
    tokenOf: () => token,
    shareTokenOf: () => token,
    // The snapshot of the stream tells all.
    onRestored() {},
    onDone: () => desk.uploader.clear(),
  });
  follow(`/v1/tickets/${ticketId}/events`, token, {
    onOpen: () => desk.model.note('Live view connected'),
    onEvent: desk.apply,
    onLost: () => desk.model.note('Live view interrupted, connecting again'),
    onRefused() {
      notice('This link does not work any more. Ask for a new one.');
      // Nothing can be sent by it.
      if (!desk.model.current) byId('workspace').hidden = true;
    },
  });

  /** A guest opens no ticket: there must be room in this one. @param {number} images */
  async function takePlaces(images) {
    const ticket = desk.model.current;
    if (!ticket) throw new Error('The ticket cannot be reached just now. Press upload again in a moment.');
    if (ticket.status === 'expired') throw new Error('The time of this ticket has run out. Ask for a new link.');
    const free = freePlaces(ticket);
    if (free === 0) throw new Error('Every place of this ticket is taken.');
    if (images > free)
      throw new Error(`This ticket has ${plural(free, 'place')} left: remove ${plural(images - free, 'photo')}.`);
    return ticketId;
  }
}
