import { Worker } from 'node:worker_threads';
import type { Answer, Order } from './disk-worker.ts';

/** Of a whole file, as lower-case hex. */
export type FileDigests = { sha256: string; md5: string };

/** Works on staged files in a thread of its own (disk-worker.ts), where many may share one wait for the disk. */
export type DiskThread = {
  /** Says that the first `size` bytes of the file will not change any more, so that hashing can keep up with writing. */
  advance(imageId: string, path: string, size: number): void;
  /** The digests of the file, whose whole size that is. Rejects when it cannot be read. */
  conclude(imageId: string, path: string, size: number): Promise<FileDigests>;
  /**
   * Makes a new file of these bytes, which are gone from here, and resolves to their digests once file and directory entry
   * would survive a power cut. When it rejects, a part of the file may be there.
   */
  land(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<FileDigests>;
  /** The file was cut or removed: what was hashed of it is void. */
  forget(imageId: string): void;
  close(): Promise<void>;
};

/** @param directory the folder of all the files */
export function startDiskThread(directory: string): DiskThread {
  const asked = new Map<number, PromiseWithResolvers<FileDigests>>();
  let last = 0;
  let worker: Worker | undefined;
  const start = () => {
    const thread = new Worker(new URL('./disk-worker.ts', import.meta.url), {
      workerData: { directory },
      // The thread has a few numbers and one buffer to keep.
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
    });
    return thread.on('message', (answers: Answer[]) => {
      for (const answer of answers) {
        const waiting = asked.get(answer.number);
        asked.delete(answer.number);
        if ('error' in answer) waiting?.reject(answer.error);
        else waiting?.resolve(answer.digests);
      }
    });
  };
  const order = (message: Order, transfer: ArrayBuffer[] = []) => {
    // With the first image: a gateway that waits for images can do without its memory.
    worker ??= start();
    worker.postMessage(message, transfer);
  };
  const ask = (post: (number: number) => void): Promise<FileDigests> => {
    const waiting = Promise.withResolvers<FileDigests>();
    last += 1;
    asked.set(last, waiting);
    post(last);
    return waiting.promise;
  };
  return {
    advance: (imageId, path, size) => order({ kind: 'hash', number: null, imageId, path, size }),
    conclude: (imageId, path, size) => ask((number) => order({ kind: 'hash', number, imageId, path, size })),
    land: (path, bytes) => ask((number) => order({ kind: 'land', number, path, bytes }, [bytes.buffer])),
    forget(imageId) {
      if (worker) order({ kind: 'forget', imageId });
    },
    async close() {
      await worker?.terminate();
      for (const waiting of asked.values()) waiting.reject(new Error('the gateway is stopping'));
      asked.clear();
    },
  };
}
