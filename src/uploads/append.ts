import type { Readable } from 'node:stream';
import type { BufferPool, Lent } from './buffer-pool.ts';

/** Bytes wait no longer than this for the next ones, in milliseconds, so that a slow client keeps little in memory. */
const GATHER_MS = 20;

/** What a body tells when nothing more comes. */
const ENDS = ['end', 'error', 'close'];

/**
 * How a body ended: with its last byte, with one byte too many, cut off by the client, or let go for `signal`. Or it has not
 * ended, and more of it can be appended later.
 */
export type AppendEnd = 'complete' | 'too-long' | 'cut' | 'aborted' | 'unfinished';

export type AppendRequest = {
  source: Readable;
  /** Where in the file the body's next byte goes. */
  position: number;
  /** Most bytes to take. */
  limit: number;
  signal?: AbortSignal;
  /** After so many milliseconds the body is left as it is. */
  patienceMs?: number;
  buffers: Pick<BufferPool, 'take' | 'wait'>;
  /** Writes what is in the buffer, which serves others after that; a rejection ends the body. */
  write: (lent: Lent) => Promise<void>;
};

/**
 * Writes a request body as it comes and resolves to how it ended, with everything taken until then written.
 *
 * Reads the Node stream as it is and never destroys it: the answer to the client still needs its socket. Of a body that
 * is ended early the rest is drained. Rejects with what `write` threw.
 */
export async function appendBody(request: AppendRequest): Promise<AppendEnd> {
  const { source, patienceMs = Number.POSITIVE_INFINITY, write } = request;
  const deadline = performance.now() + patienceMs;
  const body = takeBody(request);
  // One buffer is written while the next one fills.
  let writing: Promise<void> = Promise.resolve();
  let failed = false;
  const flush = async () => {
    await writing;
    const lent = body.handOut();
    if (!lent) return;
    writing = write(lent).finally(lent.giveBack);
    // What is wrong is told at once, whether or not the rest ever comes.
    writing.catch(() => {
      failed = true;
      body.wake();
    });
  };
  // Of a slow body, whose last bytes came alone: those that come after a while go at once.
  let slow = false;
  let end: AppendEnd | null = null;
  try {
    for (;;) {
      if (body.isFull()) await flush();
      if (failed) await writing;
      if (body.isStuck()) {
        await body.findRoom();
        continue;
      }
      const now = performance.now();
      const left = deadline - now;
      end = body.end() ?? (left <= 0 ? 'unfinished' : null);
      // What comes from now on is for whoever goes on with it.
      if (end === 'unfinished') source.pause();
      if (end) break;
      if (!body.holds()) {
        await body.next(left);
        slow &&= performance.now() - now > GATHER_MS;
      } else if (slow || !(await body.next(Math.min(GATHER_MS, left)))) {
        slow = true;
        await flush();
      }
    }
    await flush();
    await writing;
    return end;
  } finally {
    body.close(end === 'unfinished');
  }
}

/** Copies a body into buffers piece by piece, right when a piece comes: then it is still in the processor's cache. */
function takeBody({ source, position, limit, signal, buffers }: AppendRequest) {
  let lent: Lent | null = null;
  /** What comes next after the buffers that were handed out. */
  let offset = position;
  let taken = 0;
  let excess = false;
  /** The piece that came last, and what of it has found no room yet. */
  let piece: Buffer | null = null;
  let rest: Buffer | null = null;
  let changed = true;
  let wake: (() => void) | null = null;

  const notice = () => {
    changed = true;
    wake?.();
  };
  const pour = () => {
    while (rest && !lent?.full) {
      lent ??= buffers.take(offset);
      if (!lent) return;
      const some = lent.add(rest);
      rest = some < rest.length ? rest.subarray(some) : null;
    }
    if (rest || !piece) return;
    free(piece);
    piece = null;
  };
  const take = (next: Buffer) => {
    const fitting = next.subarray(0, limit - taken);
    taken += fitting.length;
    excess ||= fitting.length < next.length;
    piece = next;
    rest = fitting.length > 0 ? fitting : null;
    const begins = lent === null;
    pour();
    // No other comes until this one has found room.
    if (rest) source.pause();
    // A buffer that begins to fill is not to wait for its end for ever.
    if (begins || rest || excess || lent?.full) notice();
  };
  source.on('data', take);
  for (const event of ENDS) source.on(event, notice);
  signal?.addEventListener('abort', notice);

  return {
    isFull: () => lent?.full === true,
    /** True while a piece waits for a buffer. */
    isStuck: () => rest !== null && !lent?.full,
    holds: () => lent !== null,
    async findRoom() {
      lent ??= await buffers.wait(offset);
      pour();
    },
    /** The buffer with all that came since the last one; null when that is nothing. */
    handOut() {
      const full = lent;
      offset = full?.end ?? offset;
      lent = null;
      return full;
    },
    end(): AppendEnd | null {
      if (excess) return 'too-long';
      if (source.readableEnded) return 'complete';
      if (signal?.aborted) return 'aborted';
      return source.destroyed ? 'cut' : null;
    },
    /** As if something had come. */
    wake: notice,
    /** Waits for what others have to see to; resolves to false when no byte came within `timeoutMs`. */
    async next(timeoutMs: number): Promise<boolean> {
      const before = taken;
      source.resume();
      if (!changed) {
        let timer: NodeJS.Timeout | undefined;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (timeoutMs < Number.POSITIVE_INFINITY) timer = setTimeout(resolve, timeoutMs);
        });
        clearTimeout(timer);
        wake = null;
      }
      const something = changed || taken > before;
      changed = false;
      return something;
    },
    /** @param open whether somebody goes on with the body */
    close(open: boolean) {
      source.off('data', take);
      for (const event of ENDS) source.off(event, notice);
      signal?.removeEventListener('abort', notice);
      lent?.giveBack();
      // An error after this has no other listener, and a client that leaves must not end the process.
      source.on('error', () => {});
      // Node drains a body that nobody began to read, but not the rest of this one: a client that waits to send it would
      // never look at its answer, and the connection would be of no more use.
      if (open) source.pause();
      else source.resume();
    },
  };
}

/**
 * Gives the memory of a piece back that has it for itself, as those of Node's HTTP parser do. The garbage collector would,
 * too, but it sees a small object, and lets megabytes of them gather.
 */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
