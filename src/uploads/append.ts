import type { Readable } from 'node:stream';
import { BLOCK_BYTES } from './buffer-pool.ts';
import { byteLength, splitAt } from './pieces.ts';

/**
 * Bytes gathered before they are written. Sockets hand out pieces of up to 64 KiB; four of them in one go take a quarter of
 * the wake-ups, and more than that gains nothing measurable.
 */
const BATCH_BYTES = 256 * 1024;

/** A batch waits no longer than this for its next piece, in milliseconds, so that a slow client keeps little in memory. */
const GATHER_MS = 20;
/** However busily they come, bytes are not kept in memory for longer than this, in milliseconds. */
const GATHER_ALL_MS = 200;

/** What a body tells when something happened to it. */
const ARRIVALS = ['readable', 'end', 'error', 'close'];

/** How the body ended: with its last byte, with one byte too many, cut off by the client, or let go for `signal`. */
export type AppendEnd = 'complete' | 'too-long' | 'cut' | 'aborted';

export type AppendRequest = {
  source: Readable;
  /** What was read of the body before, and is taken out of here; see `gatherBody`. */
  gathered?: Buffer[];
  /** Where in the file the body's first byte goes. */
  position: number;
  /** Most bytes to take. */
  limit: number;
  signal: AbortSignal;
  /** Writes the next pieces, which begin at `position`; a rejection ends the body. */
  write: (pieces: Buffer[], position: number) => Promise<void>;
};

/**
 * Writes a request body piece by piece and resolves to how it ended, with everything taken until then written.
 *
 * Reads the Node stream as it is and never destroys it: the answer to the client still needs its socket. Of a body that
 * is ended early the rest is drained. Rejects with what `write` threw.
 */
export async function appendBody({
  source,
  gathered = [],
  position,
  limit,
  signal,
  write,
}: AppendRequest): Promise<AppendEnd> {
  const arrivals = watchArrivals(source, signal);
  let offset = position;
  const batch = gathered;
  // One batch is written while the next one comes in.
  let writing: Promise<void> = Promise.resolve();
  let failed = false;
  /** Writes the batch, or as much of it as fills whole blocks of the disk. */
  const flush = async (whole: 'all' | 'blocks' = 'all') => {
    await writing;
    if (batch.length === 0) return;
    const bytes = byteLength(batch);
    const [pieces, rest] = splitAt(batch, whole === 'all' ? bytes : bytes - ((offset + bytes) % BLOCK_BYTES));
    // Out of the hands of whoever gathered it, too: what is written is not to stay in memory while the rest comes slowly.
    batch.splice(0, batch.length, ...rest);
    const begin = offset;
    offset += byteLength(pieces);
    writing = write(pieces, begin);
    // What is wrong is told at once, whether or not the rest ever comes.
    writing.catch(() => {
      failed = true;
      arrivals.wake();
    });
  };
  try {
    for (;;) {
      const taken = takePieces(source, batch, position + limit - offset);
      const waiting = byteLength(batch);
      const end = taken === 'too-long' ? taken : endOf(source, signal);
      if (failed) await writing;
      if (end) await flush();
      else if (waiting >= BATCH_BYTES) await flush('blocks');
      if (end) {
        await writing;
        return end;
      }
      const more = await arrivals.next(batch.length > 0 ? GATHER_MS : null);
      if (!more) await flush();
    }
  } finally {
    arrivals.close();
  }
}

/**
 * Reads a body of `bytes` into memory for as long as it comes without a pause, and resolves to what it has then; the rest,
 * if any, is still to be read.
 */
export async function gatherBody(source: Readable, bytes: number): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  const deadline = performance.now() + GATHER_ALL_MS;
  for (let missing = bytes; ; ) {
    for (let piece = source.read(); piece !== null; piece = source.read()) {
      pieces.push(piece);
      missing -= piece.length;
    }
    if (missing <= 0 || source.destroyed || source.readableEnded || performance.now() > deadline) return pieces;
    if (!(await somethingArrives(source, GATHER_MS))) return pieces;
  }
}

function somethingArrives(source: Readable, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (arrived: boolean) => {
      clearTimeout(timer);
      for (const event of ARRIVALS) source.off(event, notice);
      resolve(arrived);
    };
    const notice = () => settle(true);
    const timer = setTimeout(settle, timeoutMs, false);
    for (const event of ARRIVALS) source.on(event, notice);
  });
}

/** Moves what has arrived into the batch, up to about its full size; bytes past `room` are dropped and told. */
function takePieces(source: Readable, batch: Buffer[], room: number): 'too-long' | 'all' {
  for (let bytes = byteLength(batch); bytes < BATCH_BYTES; ) {
    const piece = source.read() as Buffer | null;
    if (piece === null) return 'all';
    const fitting = piece.subarray(0, room - bytes);
    if (fitting.length > 0) batch.push(fitting);
    if (fitting.length < piece.length) return 'too-long';
    bytes += piece.length;
  }
  return 'all';
}

function endOf(source: Readable, signal: AbortSignal): AppendEnd | null {
  if (source.readableEnded) return 'complete';
  if (signal.aborted) return 'aborted';
  return source.destroyed ? 'cut' : null;
}

/** Waits for anything that may have changed what `takePieces` and `endOf` see. */
function watchArrivals(source: Readable, signal: AbortSignal) {
  let arrived = true;
  let wake: (() => void) | null = null;
  const notice = () => {
    arrived = true;
    wake?.();
  };
  for (const event of ARRIVALS) source.on(event, notice);
  signal.addEventListener('abort', notice);
  return {
    /** As if something had come. */
    wake: notice,
    /** Resolves to false when nothing came within `timeoutMs`. */
    async next(timeoutMs: number | null): Promise<boolean> {
      if (!arrived) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (timeoutMs !== null) timer = setTimeout(resolve, timeoutMs);
        });
        clearTimeout(timer);
        wake = null;
      }
      const something = arrived;
      arrived = false;
      return something;
    },
    close() {
      for (const event of ARRIVALS) source.off(event, notice);
      signal.removeEventListener('abort', notice);
      // Node drains a body that nobody began to read, but not the rest of this one: a client that waits to send it would
      // never look at its answer, and the connection would be of no more use.
      source.resume();
      // An error after this has no other listener, and a client that leaves must not end the process.
      source.on('error', () => {});
    },
  };
}
