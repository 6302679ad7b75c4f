import { refuseStranger } from './admin.ts';
import { assetUrl } from './asset-fields.ts';
import type { Call } from './call.ts';
import { send } from './send.ts';

/** A page of images larger than this helps nobody. */
const shownLimit = 100;

/** GET /: what is stored here, newest first, for whoever plays with the demo and has the account's key and secret. */
export async function listStored(call: Call): Promise<void> {
  const refusal = refuseStranger(call);
  if (refusal !== null)
    return send(call, {
      ...refusal,
      headers: { ...refusal.headers, 'WWW-Authenticate': 'Basic realm="hopla sandbox"' },
    });
  const assets = await call.sandbox.assets.list();
  const shown = assets.toSorted((a, b) => b.version - a.version).slice(0, shownLimit);
  const items = shown.map((asset) => {
    const size =
      asset.image === null ? '' : `${asset.image.width ?? '?'} × ${asset.image.height ?? '?'} ${asset.image.format}, `;
    const url = escapeHtml(assetUrl(asset, call.sandbox));
    return `<li><a href="${url}">${escapeHtml(asset.publicId)}</a> ${size}${asset.bytes} bytes</li>`;
  });
  const html = [
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Local image store</title>',
    `<h1>Local image store</h1><p>Speaks Cloudinary's Upload API. ${assets.length} images are stored.</p>`,
    `<ul>${items.join('\n')}</ul></html>\n`,
  ].join('\n');
  await send(call, { status: 200, html });
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
