/** Of the JavaScript API of WebAssembly, which the types of Node leave out. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number; shared: true }) => { buffer: SharedArrayBuffer };
};

/** Of a disk; memory, file offset and length of a write past the page cache are multiples of it (open(2), O_DIRECT). */
export const BLOCK_BYTES = 4096;
/** What one buffer takes, wherever in a block its first byte belongs: one order to the disk thread, and one system call. */
export const BUFFER_BYTES = 1024 * 1024;

const STRIDE = BUFFER_BYTES + BLOCK_BYTES;
/** Those that were used last are used first, and memory nobody wrote to costs nothing. */
const BUFFERS = 64;
const PAGE_BYTES = 64 * 1024;

/** Bytes in the pool's memory. */
export type Place = { at: number; length: number };

/** A buffer in use. It begins where the disk wants it, and is full at the end of a block. */
export type Lent = {
  /** Where its first byte goes in the file. */
  readonly position: number;
  /** Where the next byte goes that is not in it. */
  readonly end: number;
  readonly place: Place;
  readonly full: boolean;
  /** Copies as many of the bytes as it has room for, and says how many these are. */
  add(bytes: Buffer): number;
  /** Once, when nobody looks at its bytes any more. */
  giveBack(): void;
};

/**
 * Memory that two threads share, for bytes on their way to the disk: however many bring some, no more than 64 MiB wait.
 * A WebAssembly memory is the one kind of memory in JavaScript that begins at a page.
 */
export type BufferPool = {
  readonly memory: SharedArrayBuffer;
  /** Whether most buffers are free, so that nobody need be sparing with them. */
  readonly ample: boolean;
  /** An empty buffer for bytes that go to `position` in a file; null while none is free, or others wait for one. */
  take(position: number): Lent | null;
  /** The same, when it is this one's turn: never before this returns. */
  wait(taker: Taker): void;
};

/** Who waits for a buffer. No promise: of hundreds who wait at once each would get old, out of reach of the quick collections. */
export type Taker = { readonly position: number; take(lent: Lent): void };

export function createBufferPool(): BufferPool {
  const pages = Math.ceil((BUFFERS * STRIDE) / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
  const all = Buffer.from(memory);
  const free = Array.from({ length: BUFFERS }, (_, n) => (BUFFERS - 1 - n) * STRIDE);
  const waiting: Taker[] = [];
  // Not within this call: the next one may be done with it at once, and the one after that, thousands deep.
  const give = (start: number, taker: Taker) => queueMicrotask(() => taker.take(lend(start, taker.position)));
  const giveBack = (start: number) => {
    const next = waiting.shift();
    if (next) give(start, next);
    else free.push(start);
  };
  const lend = (start: number, position: number) => new Filling(all, start, position, giveBack);
  return {
    memory,
    get ample() {
      return free.length > BUFFERS / 2;
    },
    take(position) {
      const start = free.pop();
      return start === undefined ? null : lend(start, position);
    },
    wait(taker) {
      const start = free.pop();
      if (start === undefined) waiting.push(taker);
      else give(start, taker);
    },
  };
}

class Filling implements Lent {
  readonly position: number;
  readonly #all: Buffer;
  readonly #start: number;
  readonly #giveBack: (start: number) => void;
  #length = 0;

  constructor(all: Buffer, start: number, position: number, giveBack: (start: number) => void) {
    this.#all = all;
    this.#start = start;
    this.position = position;
    this.#giveBack = giveBack;
  }

  get end(): number {
    return this.position + this.#length;
  }

  get place(): Place {
    return { at: this.#at, length: this.#length };
  }

  get full(): boolean {
    return this.#length === this.#most;
  }

  add(bytes: Buffer): number {
    const some = Math.min(bytes.length, this.#most - this.#length);
    const start = this.#at + this.#length;
    // A Buffer's `copy` of the whole of another is a `set`, and that goes byte by byte, by atomic stores, where memory is shared.
    this.#all.fill(bytes, start, start + some);
    this.#length += some;
    return some;
  }

  giveBack(): void {
    this.#giveBack(this.#start);
  }

  get #at(): number {
    return this.#start + (this.position % BLOCK_BYTES);
  }

  get #most(): number {
    return this.#start + STRIDE - this.#at;
  }
}
