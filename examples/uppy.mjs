// Uppy's Dashboard for one ticket. `ticket` is what your server got from POST /v1/tickets and passed on.
import Uppy from '@uppy/core';
import Dashboard from '@uppy/dashboard';
import Tus from '@uppy/tus';

export function showUploader(ticket, target) {
  return new Uppy({ restrictions: { maxNumberOfFiles: ticket.counts.expected, allowedFileTypes: ['image/*'] } })
    .use(Dashboard, { target, inline: true })
    .use(Tus, {
      endpoint: ticket.uploadUrl,
      headers: { Authorization: `Bearer ${ticket.uploadToken}` },
      retryDelays: [0, 1000, 3000, 5000, 10_000],
      limit: 4,
    });
}
