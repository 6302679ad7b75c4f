/** @import { Detail, Image, LiveEvent, Progress, Ticket } from './wire.d.ts' */
import { formatBytes, plural } from './format.js';

/** @typedef {{ at: Date, text: string }} LogEntry */

const MAX_LOG = 500;

/**
 * The ticket that the page shows: its last known state, kept up to date by events.
 */
export function createTicket() {
  /** @type {Ticket | null} */
  let ticket = null;
  /** @type {Map<string, Image>} */
  const images = new Map();
  /** @type {Map<string, Progress>} */
  const progress = new Map();
  /** @type {LogEntry[]} */
  let log = [];
  /** Changes up to this version are in the state already. */
  let known = 0;
  /** @type {Set<() => void>} */
  const listeners = new Set();
  const changed = () => {
    for (const listener of listeners) listener();
  };

  /** @param {string} text */
  const note = (text) => {
    log = [...log.slice(-MAX_LOG + 1), { at: new Date(), text }];
  };

  /** @param {Ticket} next */
  const takeTicket = (next) => {
    const before = ticket?.status;
    ticket = next;
    if (before !== next.status) note(describeTicket(next));
  };

  /** @param {Image} next */
  const takeImage = (next) => {
    const before = images.get(next.id)?.status;
    images.set(next.id, next);
    if (before !== next.status) note(`${next.filename ?? 'A photo'}: ${describeImage(next)}`);
  };

  return {
    get current() {
      return ticket;
    },
    get images() {
      return [...images.values()];
    },
    get log() {
      return log;
    },
    /** @param {string} imageId */
    progressOf: (imageId) => progress.get(imageId),
    /** @param {() => void} listener */
    subscribe(listener) {
      listeners.add(listener);
    },
    /** @param {string} text */
    note(text) {
      if (!ticket) return;
      note(text);
      changed();
    },
    /** Shows a ticket as it is now. @param {Detail} detail */
    show(detail) {
      if (detail.id !== ticket?.id) {
        images.clear();
        progress.clear();
        log = [];
        ticket = null;
      } else if (detail.version < known) return;
      const { images: shown, ...rest } = detail;
      known = detail.version;
      if (ticket) {
        for (const image of shown) takeImage(image);
        takeTicket(rest);
      } else {
        for (const image of shown) images.set(image.id, image);
        ticket = rest;
        log = historyOf(detail);
      }
      changed();
    },
    clear() {
      ticket = null;
      known = 0;
      images.clear();
      progress.clear();
      log = [];
      changed();
    },
    /** @param {LiveEvent} event */
    apply(event) {
      if (event.type === 'snapshot') return this.show(event.data);
      if (!ticket || event.data.ticketId !== ticket.id) return;
      if (event.type === 'progress') progress.set(event.data.imageId, event.data);
      else if (event.version > known && event.type === 'image') takeImage(event.data);
      else if (event.version > known && event.type === 'ticket') takeTicket(event.data);
      else return;
      changed();
    },
  };
}

/** What happened before anybody watched, by the times on record. @param {Detail} detail @returns {LogEntry[]} */
function historyOf({ images, createdAt, ...ticket }) {
  const opened = describeTicket({ ...ticket, createdAt, status: 'pending' });
  const entries = images.flatMap((image) => {
    const name = image.filename ?? 'A photo';
    return [
      { at: image.createdAt, text: `${name}: ${describeImage({ ...image, status: 'uploading' })}` },
      ...(image.receivedAt ? [{ at: image.receivedAt, text: `${name}: received` }] : []),
      ...(image.storedAt ? [{ at: image.storedAt, text: `${name}: delivered` }] : []),
    ];
  });
  const end = ticket.completedAt ? [{ at: ticket.completedAt, text: describeTicket({ ...ticket, createdAt }) }] : [];
  return [{ at: createdAt, text: opened }, ...entries, ...end]
    .sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
    .slice(-MAX_LOG)
    .map(({ at, text }) => ({ at: new Date(at), text }));
}

/** Places that nobody has taken. @param {Ticket} ticket */
export function freePlaces({ counts, status }) {
  const open = status === 'pending' || status === 'uploading';
  return open ? counts.expected - counts.uploading - counts.received - counts.stored - counts.failed : 0;
}

/** @param {Ticket} ticket */
function describeTicket({ status, counts, bytes }) {
  switch (status) {
    case 'pending':
      return `Ticket open for ${plural(counts.expected, 'photo')}`;
    case 'uploading':
      return 'Photos are arriving';
    case 'processing':
      return 'Every photo is received; the rest is on its way to the cloud';
    case 'completed':
      return `All ${plural(counts.expected, 'photo')} delivered, ${formatBytes(bytes.stored)}`;
    case 'expired':
      return 'The time of the ticket has run out';
  }
}

/** @param {Image} image */
function describeImage({ status, size, error }) {
  switch (status) {
    case 'uploading':
      return `upload begun${size === null ? '' : `, ${formatBytes(size)}`}`;
    case 'received':
      return error ? `will be sent again (${error.message || error.code})` : 'received';
    case 'transferring':
      return 'on its way to the cloud';
    case 'stored':
      return 'delivered';
    case 'failed':
      return `the cloud does not take it just now: ${error?.message ?? ''}`;
    case 'rejected':
      return `not accepted: ${error?.message ?? ''}`;
    case 'cancelled':
      return 'removed';
    case 'expired':
      return 'not received in time';
  }
}
