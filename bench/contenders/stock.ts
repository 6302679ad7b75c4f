/** @tus/server with @tus/file-store as their README sets them up: no users, no database, no fsync, nothing behind. */
import { createServer } from 'node:http';
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';
import { announce, directory } from './contender.ts';

const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) });
announce(createServer((request, response) => void tus.handle(request, response)));
