import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';

/**
 * The processes that share a staging area, all of them on this host.
 *
 * Each listens on a Unix socket in a folder of the area, under a name that no other process ever has. The kernel closes
 * it when the process ends, whatever ended it, and not before its last write is done: whose socket refuses a connection
 * writes no more, and never will again. That takes no database, no lease that runs out and no asking again and again.
 */
export type Peers = {
  /** The name of this process. */
  readonly own: string;
  /** Asks a process to hand an upload over to this one: `done` when it did, `gone` when there is no such process. */
  askFor(imageId: string, name: string, signal: AbortSignal): Promise<'done' | 'gone'>;
  /** True when the process has ended. */
  isGone(name: string): Promise<boolean>;
  /** Whether any other process is there. */
  readonly alone: boolean;
  /** Says what to do when another process asks for an upload; until then it has to wait. */
  onAsked(handOver: HandOver): void;
  /** Calls back whenever another process has ended. */
  onEnd(listener: () => void): () => void;
  close(): Promise<void>;
};

/** Hands an upload over to the process of that name; rejects when it cannot. */
export type HandOver = (imageId: string, to: string) => Promise<void>;

const FOLDER = '.peers';
const NAME = /^[0-9a-f]{16}$/;
/** What sockaddr_un of Linux takes is 107 bytes, that of other systems 103. */
const PATH_BYTES = 103;
/** More than any of our lines has. */
const LINE_CHARS = 200;

/** Joins the processes of a staging area. */
export async function joinPeers(stagingDirectory: string, log: Logger): Promise<Peers> {
  const own = randomBytes(8).toString('hex');
  await using opening = new AsyncDisposableStack();
  const directory = join(stagingDirectory, FOLDER);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const folder = await openDeep(directory, own);
  opening.defer(() => folder?.close());
  const addressOf = (name: string) => (folder ? `/proc/self/fd/${folder.fd}/${name}` : join(directory, name));

  const sockets = new Set<Socket>();
  const watched = new Map<string, number>();
  const listeners = new Set<() => void>();
  const handOver = Promise.withResolvers<HandOver>();
  let closing = false;

  const keep = (socket: Socket) => {
    sockets.add(socket);
    // Whatever is wrong with a connection, its end says enough.
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
    return socket;
  };
  /** As long as this connection stands the process at its other end is there. */
  const watch = (socket: Socket, name: string) => {
    watched.set(name, (watched.get(name) ?? 0) + 1);
    // Nothing more comes, but only who reads hears of the end.
    socket.resume();
    socket.once('close', () => {
      const left = (watched.get(name) ?? 1) - 1;
      if (left > 0) watched.set(name, left);
      else watched.delete(name);
      if (closing || left > 0) return;
      log.info({ process: name }, 'another process of this staging area has ended');
      for (const listener of listeners) listener();
    });
  };

  const serve = async (socket: Socket) => {
    const [verb, name = '', imageId = ''] = (await readLine(socket)).split(' ');
    if (verb === 'watch') return watch(socket, name);
    // Somebody who looked whether we are there.
    if (verb !== 'release') return void socket.destroy();
    try {
      await (await handOver.promise)(imageId, name);
      socket.end('done\n');
    } catch (error) {
      log.info({ err: error, imageId, process: name }, 'an upload was not handed over');
      socket.destroy();
    }
  };
  const server = createServer((socket) => void serve(keep(socket)).catch(() => socket.destroy()));
  // Bound under another name first: between bind(2) and listen(2) a socket refuses connections like that of a dead process.
  const fresh = freshNameOf(own);
  await new Promise<void>((resolve, reject) => {
    server.on('error', reject);
    server.listen(addressOf(fresh), resolve);
  });
  opening.defer(async () => {
    // Refuses new connections first: who loses one of these looks whether we are gone.
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
  await rename(join(directory, fresh), join(directory, own));
  opening.defer(() => rm(join(directory, own), { force: true }));

  /** Resolves to a connection, or null when the process has ended. Rejects when neither is certain. */
  const reach = async (name: string): Promise<Socket | null> => {
    const socket = keep(connect(addressOf(name)));
    try {
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
      return socket;
    } catch (error) {
      socket.destroy();
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED' || code === 'ENOENT') return null;
      throw error;
    }
  };

  const isGone = async (name: string) => {
    const socket = await reach(name);
    socket?.destroy();
    return socket === null;
  };

  for (const name of await readdir(directory)) {
    if (!NAME.test(name) || name === own) continue;
    const socket = await reach(name);
    if (socket === null) await rm(join(directory, name), { force: true });
    else {
      socket.write(`watch ${own}\n`);
      watch(socket, name);
    }
  }

  const opened = opening.move();
  return {
    own,
    async askFor(imageId, name, signal) {
      for (;;) {
        signal.throwIfAborted();
        const socket = await reach(name);
        if (socket === null) return 'gone';
        const leave = () => socket.destroy();
        signal.addEventListener('abort', leave);
        try {
          socket.write(`release ${own} ${imageId}\n`);
          if ((await readLine(socket)) === 'done') return 'done';
        } finally {
          signal.removeEventListener('abort', leave);
          socket.destroy();
        }
        // It refused, or ended before it could answer: in that case the next try finds it gone.
        signal.throwIfAborted();
        if (!(await isGone(name))) throw new Error(`process ${name} did not hand over ${imageId}`);
      }
    },
    isGone,
    get alone() {
      return watched.size === 0;
    },
    onAsked: handOver.resolve,
    onEnd(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async close() {
      closing = true;
      await opened.disposeAsync();
    },
  };
}

function freshNameOf(own: string): string {
  return `new-${own}`;
}

/** A folder too deep for the address of a socket is reached through its descriptor; null where that is not needed. */
async function openDeep(directory: string, own: string): Promise<FileHandle | null> {
  if (Buffer.byteLength(join(directory, freshNameOf(own))) <= PATH_BYTES) return null;
  return open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
}

/** The first line that comes, or nothing when the connection ends before it does. */
function readLine(socket: Socket): Promise<string> {
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
