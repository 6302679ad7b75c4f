import { correction, generate } from 'lean-qr';
import { byId } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
/** Modules of white around a code (ISO/IEC 18004 asks for four). */
const QUIET = 4;

/**
 * The link by which another device fills a ticket. The token stands in the fragment, which no browser sends anywhere.
 *
 * @param {string} ticketId
 * @param {string} token
 */
export function shareLink(ticketId, token) {
  const fragment = new URLSearchParams({ ticket: ticketId, token });
  return `${location.origin}/#${fragment}`;
}

/** The dialog with the link and its QR code. @param {(text: string) => void} announce */
export function createShareDialog(announce) {
  const dialog = byId('share', HTMLDialogElement);
  const link = byId('share-link', HTMLInputElement);
  byId('share-close').addEventListener('click', () => dialog.close());
  byId('share-copy').addEventListener('click', async () => {
    announce((await copyText(link.value, link)) ? 'Link copied' : 'Copy the selected link');
  });
  return {
    /** @param {string} url */
    open(url) {
      link.value = url;
      byId('share-code').replaceChildren(qrCode(url));
      dialog.showModal();
    },
  };
}

/**
 * @param {string} text
 * @param {HTMLInputElement} [field] holds the text; selected where the browser gives no clipboard (plain HTTP)
 * @returns {Promise<boolean>} whether it is in the clipboard
 */
export async function copyText(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No clipboard over plain HTTP, or not allowed: the text is left selected.
    field?.select();
    return false;
  }
}

/** @param {string} text */
function qrCode(text) {
  const code = generate(text, { minCorrectionLevel: correction.M });
  const edge = code.size + 2 * QUIET;
  let path = '';
  for (let y = 0; y < code.size; y++)
    for (let x = 0; x < code.size; x++) if (code.get(x, y)) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${edge} ${edge}`);
  svg.setAttribute('shape-rendering', 'crispEdges');
  const modules = document.createElementNS(SVG, 'path');
  modules.setAttribute('d', path);
  svg.append(modules);
  return svg;
}
