import { Worker } from 'node:worker_threads';
import type { Inspection } from '../../image-format/inspect.ts';
import { moduleBeside } from '../../runtime/module-beside.ts';
import type { BufferPool, Lent } from './buffer-pool.ts';
import type { Answer, Numbered, Order } from './io-worker.ts';

export type DiskOptions = {
  directory: string;
  /** Whether anybody wants to know what images they are: every `inspection` is null otherwise. */
  sniffs: boolean;
  buffers: Pick<BufferPool, 'memory'>;
};

/** What the thread is started with; `memory` is where it finds the bytes it writes. */
export type DiskWorkerData = Pick<DiskOptions, 'directory' | 'sniffs'> & Pick<BufferPool, 'memory'>;

/** A whole file; digests as lower-case hex. */
export type Examined = { sha256: string; inspection: Inspection | null };
export type Checked = { sha256: string; md5: string; content: Buffer | null };

/** Works on staged files in a thread of its own (disk-worker.ts). */
export type DiskThread = {
  /**
   * Writes what is in the buffer to the file of an image of `total` bytes (null while nobody knows), and resolves to what can
   * be said of it then. Not durable before `sync`. Of a full buffer what comes next in the file may be ordered before that: it
   * is written after it, and not at all when it rejects. When one rejects, a part may be written.
   */
  write(imageId: string, total: number | null, lent: Lent): Promise<Inspection | null>;
  /** The digest of the file, whose whole size that is, and the verdict on it. Rejects when it cannot be read. */
  conclude(imageId: string, size: number): Promise<Examined>;
  /** Makes the file's bytes and its directory entry survive a power cut. */
  sync(imageId: string): Promise<void>;
  /** All of that at once, with the last bytes of a file: durable when it resolves. When it rejects, a part may be written. */
  land(imageId: string, lent: Lent): Promise<Examined>;
  /** The digests of the file as it is now, and all its bytes if it has so many at most. Rejects when it cannot be read. */
  check(imageId: string, most: number): Promise<Checked>;
  /** Removes the file. Rejects when it cannot be, or is not there. */
  remove(imageId: string): Promise<void>;
  /** The file was cut or removed: what was learnt of it is void. */
  forget(imageId: string): void;
  close(): Promise<void>;
};

/** So many bytes take a disk longer than the way to the thread. */
const LARGE_BYTES = 256 * 1024;

const STOPPING = 'the gateway is stopping';

export function startDiskThread({ directory, sniffs, buffers }: DiskOptions): DiskThread {
  // By number; one is given again once it is answered. A map would be made anew again and again as it grows and shrinks, and
  // what is in one that is old already would get old with it.
  const asked: (PromiseWithResolvers<unknown> | undefined)[] = [];
  const free: number[] = [];
  let worker: Worker | undefined;
  let closed = false;
  const start = () => {
    const thread = new Worker(moduleBeside(import.meta.url, 'io-worker'), {
      workerData: { directory, sniffs, memory: buffers.memory } satisfies DiskWorkerData,
      // The thread has a few numbers and one buffer to keep.
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    return thread.on('message', (answers: Answer[]) => {
      for (const answer of answers) {
        const waiting = asked[answer.number];
        asked[answer.number] = undefined;
        free.push(answer.number);
        if ('error' in answer) waiting?.reject(Object.assign(new Error(answer.error.message), answer.error));
        else waiting?.resolve(answer.value);
      }
    });
  };
  let orders: Numbered[] = [];
  const send = () => {
    if (closed || orders.length === 0) return;
    // With the first image: a gateway that waits for images can do without its memory.
    worker ??= start();
    worker.postMessage(orders);
    orders = [];
  };
  /**
   * What is ordered while the event loop goes round once is sent in one go: to wake the thread takes longer than many an order.
   * With many bytes to write it is to begin at once, while this one takes in the next of them.
   */
  const order = (one: Numbered) => {
    const first = orders.push(one) === 1;
    if ('length' in one && one.length > LARGE_BYTES) send();
    else if (first) setImmediate(send);
  };
  const ask = <T>(what: Order): Promise<T> => {
    if (closed) return Promise.reject(new Error(STOPPING));
    const waiting = Promise.withResolvers<unknown>();
    const number = free.pop() ?? asked.length;
    asked[number] = waiting;
    order({ ...what, number });
    return waiting.promise as Promise<T>;
  };
  return {
    write: (imageId, total, { position, place }) => ask({ kind: 'write', imageId, total, position, ...place }),
    conclude: (imageId, size) => ask({ kind: 'conclude', imageId, size }),
    sync: (imageId) => ask({ kind: 'sync', imageId }),
    land: (imageId, { position, place }) => ask({ kind: 'land', imageId, position, ...place }),
    async check(imageId, most) {
      const { content, ...digests } = await ask<Checked>({ kind: 'check', imageId, most });
      return { ...digests, content: content && Buffer.from(content.buffer) };
    },
    remove: (imageId) => ask({ kind: 'remove', imageId }),
    forget(imageId) {
      if (worker) order({ kind: 'forget', imageId, number: 0 });
    },
    async close() {
      closed = true;
      await worker?.terminate();
      for (const waiting of asked.splice(0)) waiting?.reject(new Error(STOPPING));
    },
  };
}
