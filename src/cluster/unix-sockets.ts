import { constants } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

/** The Unix sockets in one folder, each named after the process that listens there. */
export type PeerSockets = {
  /** Listens under the name of this process. Call it once. */
  listen(own: string, accept: (socket: Socket) => void): Promise<void>;
  /** Resolves to a connection, or null when the process has ended. Rejects when neither is certain. */
  reach(name: string): Promise<Socket | null>;
  /** Names of the other processes that are there or have been. */
  others(): Promise<string[]>;
  /** Clears away what a process left that has ended. */
  remove(name: string): Promise<void>;
  /** Refuses connections from now on, and ends those there are. */
  close(): Promise<void>;
};

export const NAME_BYTES = 8;
const NAME = /^[0-9a-f]{16}$/;
/** What sockaddr_un of Linux takes is 107 bytes, that of other systems 103. */
const PATH_BYTES = 103;
/** More than any of our lines has. */
const LINE_CHARS = 200;

export async function openPeerSockets(directory: string): Promise<PeerSockets> {
  const opened = new AsyncDisposableStack();
  const sockets = new Set<Socket>();
  const base = await addressOf(directory, opened);
  let self = '';

  const keep = (socket: Socket) => {
    sockets.add(socket);
    // Whatever is wrong with a connection, its end says enough.
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  const remove = (name: string) => rm(join(directory, name), { force: true });
  const reach = async (name: string): Promise<Socket | null> => {
    const socket = keep(connect(`${base}/${name}`));
    try {
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
      return socket;
    } catch (error) {
      socket.destroy();
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED' || code === 'ENOENT') return null;
      // It closed before it accepted this one: the next try finds out whether it is gone.
      if (code === 'ECONNRESET') return reach(name);
      throw error;
    }
  };

  return {
    async listen(own, accept) {
      self = own;
      const server = createServer((socket) => accept(keep(socket)));
      // Under another name first: between bind(2) and listen(2) a socket refuses connections like that of a dead process.
      const fresh = `${FRESH}${own}`;
      await new Promise<void>((resolve, reject) => {
        server.on('error', reject);
        server.listen(`${base}/${fresh}`, resolve);
      });
      opened.defer(async () => {
        // First no new ones: who loses one of these looks whether we are gone.
        const closed = new Promise<void>((resolve) => server.close(() => resolve()));
        for (const socket of sockets) socket.destroy();
        await closed;
      });
      await rename(join(directory, fresh), join(directory, own));
      opened.defer(() => remove(own));
    },
    reach,
    others: async () => (await readdir(directory)).filter((name) => NAME.test(name) && name !== self),
    remove,
    close: () => opened.disposeAsync(),
  };
}

const FRESH = 'new-';

/** A folder too deep for the address of a socket is reached through its descriptor. */
async function addressOf(directory: string, opened: AsyncDisposableStack): Promise<string> {
  if (Buffer.byteLength(directory) + `/${FRESH}`.length + 2 * NAME_BYTES <= PATH_BYTES) return directory;
  const folder = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  opened.defer(() => folder.close());
  return `/proc/self/fd/${folder.fd}`;
}

/** The first line that comes, or nothing when the connection ends before it does. */
export function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (piece: string) => {
      text += piece;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
      else if (text.length > LINE_CHARS) socket.destroy();
    });
    socket.once('close', () => resolve(''));
  });
}
