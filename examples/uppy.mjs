// Uppy's Dashboard for one ticket. `ticket` is what your server got from POST /v1/tickets and passed on.
import Uppy from '@uppy/core';
import Dashboard from '@uppy/dashboard';
import Tus from '@uppy/tus';

export function showUploader(ticket, target) {
  const uppy = new Uppy({ restrictions: { maxNumberOfFiles: ticket.counts.expected, allowedFileTypes: ['image/*'] } })
    .use(Dashboard, { target, inline: true })
    .use(Tus, {
      endpoint: ticket.uploadUrl,
      headers: { Authorization: `Bearer ${ticket.uploadToken}` },
      retryDelays: [0, 1000, 3000, 5000, 10_000],
      limit: 4,
      allowedMetaFields: ['name', 'type', 'slot'],
    });
  // A repeat with the same slot finds the upload it began: a POST whose answer is lost takes no second place. Uppy has no two files
  // of one id (name, type, size and time), and the same file has the same id after a reload; its digest is short enough.
  uppy.addPreProcessor(async (ids) => {
    for (const id of ids) uppy.setFileMeta(id, { slot: await slotOf(id) });
  });
  return uppy;
}

async function slotOf(id) {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(id));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
