/**
 * What one writes in an afternoon: @tus/server, its FileStore, and a hook that sends the finished file to Cloudinary with
 * the SDK and removes it here. The settings are those of the processes of hopla: PORT, STAGING_DIR, CLOUDINARY_URL.
 */
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';
import { v2 as cloudinary } from 'cloudinary';

const { PORT = '0', STAGING_DIR: directory = '.' } = process.env;

const tus = new Server({
  path: '/files',
  datastore: new FileStore({ directory }),
  async onUploadFinish(_request, { id }) {
    const path = join(directory, id);
    await cloudinary.uploader.upload(path, { public_id: id });
    for (const file of [path, `${path}.json`]) await rm(file, { force: true });
    return {};
  },
});

const server = createServer((request, response) => void tus.handle(request, response));
server.listen(Number(PORT), '127.0.0.1', () => console.log('listening'));
process.once('SIGTERM', () => {
  server.close(() => process.exit());
  server.closeIdleConnections();
  setTimeout(() => process.exit(), 10_000).unref();
});
