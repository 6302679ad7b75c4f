import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Site, Target } from './target.ts';

const server = fileURLToPath(new URL('stock-server.ts', import.meta.url));

/** A plain @tus/server: no tickets, no database, no events; the same clients, disturbances and storage. */
export async function stockTarget({ stagingDirectory, cloudinaryUrl, url }: Site): Promise<Target> {
  const staged = () => readdir(stagingDirectory);
  return {
    postgres: null,
    program: server,
    environment: { STAGING_DIR: stagingDirectory, CLOUDINARY_URL: cloudinaryUrl },
    readyText: 'listening',
    async begin() {},
    open: async () => ({ endpoint: `${url()}/files`, headers: {} }),
    async settle() {},
    // Nothing there works in the background: what is left when the clients are done stays.
    pending: async () => ({}),
    records: async () => null,
    ticketIds: () => null,
    views: () => null,
    staged,
    hushClients() {},
    async close() {},
  };
}
