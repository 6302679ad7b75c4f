/** Of the JavaScript API of WebAssembly, which the types of Node leave out. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number; shared: true }) => { buffer: SharedArrayBuffer };
};

/** What one buffer takes, wherever in a block of the disk it begins. */
export const BUFFER_BYTES = 512 * 1024;
/** Of a disk; memory, file offset and length of a write past the page cache are multiples of it (open(2), O_DIRECT). */
export const BLOCK_BYTES = 4096;

const STRIDE = BUFFER_BYTES + BLOCK_BYTES;
/** Those that are used last are used first, and memory nobody wrote to costs nothing. */
const BUFFERS = 32;
const PAGE_BYTES = 64 * 1024;

/** Bytes in the pool's memory. */
export type Place = { at: number; length: number };

/**
 * Memory that two threads share, for bytes on their way to the disk: however many bring some, no more than 16 MiB wait.
 * A WebAssembly memory is the one kind of memory in JavaScript that begins at a page.
 */
export type BufferPool = {
  readonly memory: SharedArrayBuffer;
  /**
   * Copies the pieces, at most `BUFFER_BYTES` together, to where the disk wants those that go to `position` in a file, lends
   * the place, and resolves to what that gave. Waits while all buffers are lent.
   */
  lend<T>(pieces: Uint8Array[], position: number, use: (place: Place) => Promise<T>): Promise<T>;
};

export function createBufferPool(): BufferPool {
  const pages = Math.ceil((BUFFERS * STRIDE) / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
  const bytes = new Uint8Array(memory);
  const free = Array.from({ length: BUFFERS }, (_, n) => (BUFFERS - 1 - n) * STRIDE);
  const waiting: ((start: number) => void)[] = [];
  const take = () => free.pop() ?? new Promise<number>((resolve) => waiting.push(resolve));
  const give = (start: number) => {
    const next = waiting.shift();
    if (next) next(start);
    else free.push(start);
  };
  return {
    memory,
    async lend(pieces, position, use) {
      const start = await take();
      try {
        const at = start + (position % BLOCK_BYTES);
        let end = at;
        for (const piece of pieces) {
          bytes.set(piece, end);
          end += piece.length;
        }
        return await use({ at, length: end - at });
      } finally {
        give(start);
      }
    },
  };
}
