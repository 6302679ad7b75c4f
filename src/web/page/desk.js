/** @import { Image, LiveEvent } from './wire.d.ts' */
import { byId, pageSetting } from './dom.js';
import { announce } from './notice.js';
import { copyText, createShareDialog, shareLink } from './share.js';
import { createTicket } from './ticket.js';
import { createTicketCard } from './ticket-card.js';
import { createUploader } from './uploader.js';

/**
 * What guests and users have in common: the chooser, and beside it the ticket that its photos go to.
 *
 * @param {{
 *   kept: { id: string, keeps: boolean },
 *   openTicket: (images: number, key: string) => Promise<string>,
 *   tokenOf: (ticketId: string) => string,
 *   shareTokenOf: (ticketId: string) => string | undefined,
 *   onRestored: (ticketIds: string[]) => void,
 *   onDone: () => void,
 * }} options `shareTokenOf`: a token that may be given away
 */
export function createDesk({ kept, openTicket, tokenOf, shareTokenOf, onRestored, onDone }) {
  const model = createTicket();
  const share = createShareDialog(announce);
  const uploader = createUploader({
    ...kept,
    target: byId('dashboard'),
    maxImageBytes: Number(pageSetting('max-image-bytes')),
    accept: pageSetting('accept'),
    openTicket,
    tokenOf,
    onRestored,
    onDone,
  });
  const link = () => {
    const ticketId = model.current?.id ?? '';
    return shareLink(ticketId, shareTokenOf(ticketId) ?? '');
  };
  const choose = wireChoosing((files, replaced) => {
    // What goes wrong is said by the uploader.
    if (model.current) uploader.addTo(files, model.current.id, replaced).catch(() => {});
  });
  createTicketCard(byId('ticket'), model, {
    previewOf: uploader.previewOf,
    canShare: (ticketId) => shareTokenOf(ticketId) !== undefined,
    onShare: () => share.open(link()),
    async onCopy() {
      if (await copyText(link())) announce('Link copied');
      else share.open(link());
    },
    onAdd: () => choose(null),
    onReplace: choose,
    announce,
  });

  return {
    model,
    uploader,
    /** @param {LiveEvent} event */
    apply(event) {
      model.apply(event);
      if (event.type === 'image') uploader.note(event.data);
      if (event.type === 'snapshot') event.data.images.forEach(uploader.note);
      if (event.type === 'progress') uploader.noteProgress(event.data);
    },
  };
}

/**
 * Lets the user choose photos for the ticket that is shown.
 *
 * @param {(files: FileList, replaced: string | null) => void} onChosen `replaced`: the slot of a rejected photo
 * @returns {(replaced: Image | null) => void}
 */
function wireChoosing(onChosen) {
  const input = byId('more-photos', HTMLInputElement);
  /** @type {Image | null} */
  let current = null;
  input.addEventListener('change', () => input.files?.length && onChosen(input.files, current?.slot ?? null));
  return (replaced) => {
    current = replaced;
    input.multiple = replaced === null;
    input.value = '';
    input.click();
  };
}
