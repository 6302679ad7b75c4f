/** The ticket in the page's address. */
export function addressedTicket() {
  return new URLSearchParams(location.search).get('ticket');
}

/**
 * Puts a ticket into the page's address, or takes it out.
 *
 * @param {string | null} ticketId
 * @param {boolean} keepHistory whether going back returns to the one before
 */
export function addressTicket(ticketId, keepHistory) {
  if (addressedTicket() === ticketId) return;
  const url = new URL(location.href);
  if (ticketId) url.searchParams.set('ticket', ticketId);
  else url.searchParams.delete('ticket');
  if (keepHistory) history.pushState(null, '', url);
  else history.replaceState(null, '', url);
}
