import type { Readable } from 'node:stream';
import type { BufferPool, Lent, Taker } from '../../staging/local/buffer-pool.ts';

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
  buffers: Pick<BufferPool, 'take' | 'wait' | 'ample'>;
  /**
   * Writes what is in the buffer, which serves others after that; a rejection ends the body. Of a full one may be called for the
   * next meanwhile, which is to be written after it, and not at all when it rejects; the two may resolve in either order.
   */
  write: (lent: Lent) => Promise<void>;
};

/**
 * Writes a request body as it comes and resolves to how it ended, with everything taken until then written.
 *
 * Reads the Node stream as it is and never destroys it: the answer to the client still needs its socket. Of a body that
 * is ended early the rest is drained. Rejects with what `write` threw.
 */
export function appendBody(request: AppendRequest): Promise<AppendEnd> {
  return new Promise((resolve, reject) => new Appending(request, resolve, reject).start());
}

/**
 * Copies a body into buffers piece by piece, right when a piece comes: then it is still in the processor's cache. One buffer
 * is written, or two one after the other, while the next one fills.
 *
 * Told of events instead of waiting for each with a promise: a slow body spends its life waiting, and what is made for a wait
 * that long is old when it ends, out of reach of the quick collections.
 */
class Appending implements Taker {
  readonly #request: AppendRequest;
  readonly #resolve: (end: AppendEnd) => void;
  readonly #reject: (error: unknown) => void;
  /** The buffer that fills. */
  #lent: Lent | null = null;
  /** Where in the file it begins, or the next one will. */
  #offset: number;
  /** The piece that came last, and what of it has found no room yet. No other comes until it has. */
  #piece: Buffer | null = null;
  #rest: Buffer | null = null;
  #taken = 0;
  #excess = false;
  /** Buffers that are being written, in their order. */
  #writing = 0;
  /** Whether the last of these is a full one. */
  #full = false;
  #waiting = false;
  /** Its last bytes came alone: those that come after a while are written at once. */
  #slow = false;
  #writtenAt = 0;
  /** Looks whether anything was `taken` since it was `seen`. */
  #gathering: NodeJS.Timeout | undefined;
  #gathers = false;
  #seen = 0;
  #patience: NodeJS.Timeout | undefined;
  #late = false;
  #end: AppendEnd | null = null;
  #failure: { error: unknown } | null = null;

  constructor(request: AppendRequest, resolve: (end: AppendEnd) => void, reject: (error: unknown) => void) {
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#offset = request.position;
  }

  start(): void {
    const { source, signal, patienceMs } = this.#request;
    source.on('data', this.#take);
    for (const event of ENDS) source.on(event, this.#advance);
    signal?.addEventListener('abort', this.#advance);
    if (patienceMs !== undefined) this.#patience = setTimeout(this.#giveUp, patienceMs);
    this.#advance();
  }

  readonly #take = (next: Buffer): void => {
    const { source, limit } = this.#request;
    const room = limit - this.#taken;
    const fitting = next.length > room ? next.subarray(0, room) : next;
    this.#taken += fitting.length;
    this.#excess ||= fitting.length < next.length;
    this.#piece = next;
    this.#rest = fitting.length > 0 ? fitting : null;
    const begins = this.#lent === null;
    if (begins && this.#slow) this.#slow = performance.now() - this.#writtenAt > GATHER_MS;
    this.#pour();
    if (this.#rest) source.pause();
    if (begins || this.#rest || this.#excess || this.#lent?.full) this.#advance();
  };

  #pour(): void {
    while (this.#rest && !this.#lent?.full) {
      this.#lent ??= this.#request.buffers.take(this.#offset);
      if (!this.#lent) return;
      const some = this.#lent.add(this.#rest);
      this.#rest = some < this.#rest.length ? this.#rest.subarray(some) : null;
    }
    if (this.#rest || !this.#piece) return;
    free(this.#piece);
    this.#piece = null;
  }

  /** Sees to it that a buffer that begins to fill does not wait for its end for ever. */
  #gather(): void {
    if (this.#gathers) return;
    this.#gathers = true;
    this.#seen = this.#taken;
    this.#gathering = this.#gathering?.refresh() ?? setTimeout(this.#look, GATHER_MS);
  }

  readonly #look = (): void => {
    this.#gathers = false;
    if (!this.#lent) return;
    if (this.#taken > this.#seen) this.#gather();
    else {
      this.#slow = true;
      this.#advance();
    }
  };

  readonly #giveUp = (): void => {
    this.#late = true;
    this.#advance();
  };

  /** Does what can be done now; called whenever that may have changed. */
  readonly #advance = (): void => {
    if (this.#waiting) return;
    const { source } = this.#request;
    this.#end ??= this.#ending();
    do this.#pour();
    while (this.#handOut());
    if (this.#rest && !this.#lent) this.#findRoom();
    // What comes from now on is for whoever goes on with it.
    else if (this.#end) source.pause();
    else if (!this.#rest) source.resume();
    if (this.#lent && !this.#slow) this.#gather();
    const done = this.#failure ? !this.#waiting : this.#end && !this.#lent && !this.#rest;
    if (done && this.#writing === 0) this.#finish();
  };

  #ending(): AppendEnd | null {
    const { source, signal } = this.#request;
    if (this.#excess) return 'too-long';
    if (source.readableEnded) return 'complete';
    if (signal?.aborted) return 'aborted';
    if (source.destroyed) return 'cut';
    return this.#late ? 'unfinished' : null;
  }

  #findRoom(): void {
    this.#waiting = true;
    this.#request.buffers.wait(this);
  }

  get position(): number {
    return this.#offset;
  }

  take(lent: Lent): void {
    this.#lent = lent;
    this.#waiting = false;
    this.#advance();
  }

  /** Writes what the buffer has, when it is time to; true when there is room for another. */
  #handOut(): boolean {
    const lent = this.#lent;
    if (!lent || this.#failure || !(lent.full || this.#slow || this.#end)) return false;
    if (this.#writing > 0 && !this.#mayQueue(lent)) return false;
    this.#lent = null;
    this.#offset = lent.end;
    void this.#write(lent);
    return true;
  }

  /** After a full one, so that the disk need not wait for us between two; of what is slow, or when others wait, one is enough. */
  #mayQueue(lent: Lent): boolean {
    return this.#writing === 1 && this.#full && (lent.full || this.#end !== null) && this.#request.buffers.ample;
  }

  async #write(lent: Lent): Promise<void> {
    this.#writing++;
    this.#full = lent.full;
    this.#writtenAt = performance.now();
    try {
      await this.#request.write(lent);
    } catch (error) {
      // Told soon, whether or not the rest ever comes. Of two the first one is the reason.
      this.#failure ??= { error };
    }
    lent.giveBack();
    this.#writing--;
    this.#advance();
  }

  #finish(): void {
    const { source, signal } = this.#request;
    source.off('data', this.#take);
    for (const event of ENDS) source.off(event, this.#advance);
    signal?.removeEventListener('abort', this.#advance);
    clearTimeout(this.#gathering);
    clearTimeout(this.#patience);
    this.#lent?.giveBack();
    // An error after this has no other listener, and a client that leaves must not end the process.
    source.on('error', ignore);
    // Node drains a body that nobody began to read, but not the rest of this one: a client that waits to send it would
    // never look at its answer, and the connection would be of no more use.
    if (this.#end === 'unfinished' && !this.#failure) source.pause();
    else source.resume();
    if (this.#failure) this.#reject(this.#failure.error);
    else if (this.#end) this.#resolve(this.#end);
  }
}

function ignore(): void {}

/**
 * Gives the memory of a piece back that has it for itself, as those of Node's HTTP parser do. The garbage collector would,
 * too, but it sees a small object, and lets megabytes of them gather.
 */
function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
