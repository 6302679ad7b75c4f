import type { Database } from '../../database/connection.ts';
import { Ticket } from '../../database/models.ts';
import type { Staging } from '../../staging/local/folder.ts';
import type { Storage } from '../../storage/port.ts';
import { deleteTicket } from '../operations/ticket-delete.ts';
import { closeTicket } from '../operations/tickets.ts';
import type { Kind } from './act.ts';
import { ticketName } from './cells.ts';
import { html } from './html.ts';

/** A person waits for the answer. Transfers end in a second or two, if the storage is well. */
const TRANSFERS_MS = 10_000;

export function ticketActions(deps: { db: Database; staging: Staging; storage: Storage }): Kind {
  const { db, staging, storage } = deps;
  return {
    name: 'tickets',
    singular: 'ticket',
    async describe(ids) {
      const tickets = await Ticket.query(db).whereIn('id', ids).select('id', 'description');
      return new Map(tickets.map((ticket) => [ticket.id, ticketName(ticket)]));
    },
    actions: {
      expire: {
        done: 'expired',
        question: {
          title: 'Expire tickets?',
          text: 'They take no more images, and uploads that are running end. What was received is still stored.',
          button: 'Expire',
        },
        async perform(id, by) {
          const { ticket, changed } = await closeTicket(db, by, id, staging);
          return changed ? undefined : `takes no images anyway, it is ${ticket.status}`;
        },
      },
      delete: {
        done: 'deleted',
        question: {
          title: 'Delete tickets?',
          text: 'They go with their upload tokens and everything that is known of their images. Images that are not stored yet are lost.',
          button: 'Delete for good',
          options: html`<label class="check"><input type="checkbox" name="remote" value="yes"> Delete their stored images from the storage, too</label>`,
        },
        async perform(id, by, form) {
          const remote = form.get('remote') === 'yes';
          await deleteTicket({ db, by, staging, storage: remote ? storage : null, waitMs: TRANSFERS_MS }, id);
          return undefined;
        },
      },
    },
  };
}
