/** @import { Image, Progress } from './wire.d.ts' */
import { el, setText } from './dom.js';
import { formatBytes } from './format.js';
import { stageOf, thumbnailOf } from './stage.js';

/**
 * One photo of a ticket: its picture, its name, and how far it is on its two legs.
 *
 * @param {(image: Image) => void} onReplace
 */
export function createPhotoRow(onReplace) {
  /** @type {Image | null} */
  let current = null;
  const picture = el('img', { alt: '', loading: 'lazy', decoding: 'async', hidden: true });
  const frame = el('span', { class: 'thumb' }, picture);
  const name = el('span', { class: 'name' });
  const size = el('span', { class: 'muted size' });
  const text = el('span', { class: 'stage' });
  const upload = el('span');
  const transfer = el('span');
  const legs = el(
    'span',
    { class: 'legs', 'aria-hidden': 'true' },
    el('span', { class: 'leg' }, upload),
    el('span', { class: 'leg' }, transfer),
  );
  const message = el('span');
  const remedy = el('a', { target: '_blank', rel: 'noreferrer' }, 'What to do');
  const reason = el('span', { class: 'reason', hidden: true }, message, ' ', remedy);
  const replace = el(
    'button',
    { type: 'button', class: 'quiet small', hidden: true, click: () => current && onReplace(current) },
    'Replace',
  );
  const root = el(
    'li',
    { class: 'photo' },
    frame,
    el('span', { class: 'what' }, el('span', { class: 'line' }, name, size), legs, text, reason),
    replace,
  );
  // A small version that the store refuses to make: then the image itself.
  picture.addEventListener('error', () => {
    if (current?.url && picture.src !== current.url) picture.src = current.url;
    else picture.hidden = true;
  });

  return {
    root,
    /**
     * @param {Image} image
     * @param {Progress | undefined} progress
     * @param {string | null} preview
     * @param {{ replaceable: boolean }} ticket
     */
    update(image, progress, preview, { replaceable }) {
      const first = current === null;
      const before = current;
      current = image;
      const stage = stageOf(image, progress);
      root.dataset.stage = stage.name;
      if (first) {
        setText(name, image.filename ?? 'Photo');
        frame.dataset.kind = kindOf(image.filename);
      }
      setText(size, image.size === null ? '' : formatBytes(image.size));
      setText(text, stage.text);
      upload.style.width = `${stage.upload}%`;
      transfer.style.width = `${stage.transfer}%`;
      legs.hidden = stage.name === 'rejected' || stage.name === 'ended';
      // What is tried again needs nothing from whoever reads this.
      reason.hidden = image.error === null || stage.name === 'delivered' || stage.name === 'received';
      setText(message, image.error?.message ?? '');
      if (image.error) remedy.href = `/problems/${encodeURIComponent(image.error.code)}`;
      replace.hidden = !(stage.name === 'rejected' && replaceable);
      replace.setAttribute('aria-label', `Replace ${image.filename ?? 'this photo'}`);
      const source = image.url ? thumbnailOf(image.url) : preview;
      if (source && picture.getAttribute('src') !== source && !(before?.url && before.url === image.url)) {
        picture.src = source;
        picture.hidden = false;
        picture.dataset.source = image.url ? 'stored' : 'local';
      }
    },
  };
}

/** What stands where there is no picture: `HEIC`, for browsers that cannot show one. @param {string | null} filename */
function kindOf(filename) {
  return /\.(\w{2,4})$/.exec(filename ?? '')?.[1]?.toUpperCase() ?? '';
}
