import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { NAME_BYTES, openPeerSockets, readLine } from './unix-sockets.ts';

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
  /** Asks every other process likewise; rejects when one of them lives and does not. */
  askAll(imageId: string, signal: AbortSignal): Promise<void>;
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

/** Joins the processes of a staging area. */
export async function joinPeers(stagingDirectory: string, log: Logger): Promise<Peers> {
  const own = randomBytes(NAME_BYTES).toString('hex');
  const directory = join(stagingDirectory, FOLDER);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await using opening = new AsyncDisposableStack();
  const sockets = await openPeerSockets(directory);
  opening.defer(() => sockets.close());
  const handOver = Promise.withResolvers<HandOver>();
  const ends = new Set<() => void>();
  const watched = watchEnds((name) => {
    log.info({ process: name }, 'another process of this staging area has ended');
    for (const tell of ends) tell();
  });
  opening.defer(() => watched.close());

  const serve = async (socket: Socket) => {
    const [verb, name = '', imageId = ''] = (await readLine(socket)).split(' ');
    if (verb === 'watch') return watched.add(socket, name);
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
  await sockets.listen(own, (socket) => void serve(socket));
  for (const name of await sockets.others()) {
    const socket = await sockets.reach(name);
    if (socket === null) await sockets.remove(name);
    else {
      socket.write(`watch ${own}\n`);
      watched.add(socket, name);
    }
  }

  const isGone = async (name: string) => {
    const socket = await sockets.reach(name);
    socket?.destroy();
    return socket === null;
  };
  const askFor = async (imageId: string, name: string, signal: AbortSignal) => {
    while (!signal.aborted) {
      const socket = await sockets.reach(name);
      if (socket === null) return 'gone';
      if ((await ask(socket, `release ${own} ${imageId}`, signal)) === 'done') return 'done';
      // It refused, or ended before it could answer: then the next try finds it gone.
      if (!signal.aborted && !(await isGone(name))) throw new Error(`process ${name} did not hand over ${imageId}`);
    }
    throw signal.reason;
  };
  const opened = opening.move();
  return {
    own,
    isGone,
    askFor,
    async askAll(imageId, signal) {
      for (const name of await sockets.others()) await askFor(imageId, name, signal);
    },
    get alone() {
      return watched.alone;
    },
    onAsked: handOver.resolve,
    onEnd(listener) {
      ends.add(listener);
      return () => void ends.delete(listener);
    },
    close: () => opened.disposeAsync(),
  };
}

/** Notices when processes end: as long as one of our connections to it stands, it is there. */
function watchEnds(onEnd: (name: string) => void) {
  const connections = new Map<string, number>();
  let closing = false;
  return {
    get alone() {
      return connections.size === 0;
    },
    add(socket: Socket, name: string) {
      connections.set(name, (connections.get(name) ?? 0) + 1);
      socket.once('close', () => {
        const left = (connections.get(name) ?? 1) - 1;
        if (left > 0) connections.set(name, left);
        else connections.delete(name);
        if (left === 0 && !closing) onEnd(name);
      });
      // Nothing more comes, but only who reads hears of the end.
      socket.resume();
    },
    close() {
      closing = true;
    },
  };
}

/** One question and its answer; nothing when it does not come, or `signal` says to wait no longer. */
async function ask(socket: Socket, question: string, signal: AbortSignal): Promise<string> {
  const leave = () => socket.destroy();
  signal.addEventListener('abort', leave);
  try {
    if (signal.aborted) return '';
    socket.write(`${question}\n`);
    return await readLine(socket);
  } finally {
    signal.removeEventListener('abort', leave);
    socket.destroy();
  }
}
