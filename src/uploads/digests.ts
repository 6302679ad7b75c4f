import { Worker } from 'node:worker_threads';
import type { DigestAnswer, DigestOrder } from './digest-worker.ts';

/** Of a whole file, as lower-case hex. */
export type FileDigests = { sha256: string; md5: string };

/** Hashes staged files in a thread of its own. It reads what was just written from the page cache, not from the disk. */
export type Digests = {
  /** Says that the first `size` bytes of the file will not change any more, so that hashing can keep up with writing. */
  advance(imageId: string, path: string, size: number): void;
  /** The digests of the file, whose whole size that is. Rejects when it cannot be read. */
  conclude(imageId: string, path: string, size: number): Promise<FileDigests>;
  /** The file was cut or removed: what was hashed of it is void. */
  forget(imageId: string): void;
  close(): Promise<void>;
};

export function createDigests(): Digests {
  const asked = new Map<number, PromiseWithResolvers<FileDigests>>();
  let last = 0;
  const worker = new Worker(new URL('./digest-worker.ts', import.meta.url), {
    // The thread has a few numbers and one buffer to keep.
    resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 },
  });
  worker.on('message', (answer: DigestAnswer) => {
    const waiting = asked.get(answer.conclude);
    asked.delete(answer.conclude);
    if ('error' in answer) waiting?.reject(answer.error);
    else waiting?.resolve({ sha256: answer.sha256, md5: answer.md5 });
  });
  const order = (message: DigestOrder) => worker.postMessage(message);
  return {
    advance: (imageId, path, size) => order({ imageId, path, size, conclude: null }),
    conclude(imageId, path, size) {
      const waiting = Promise.withResolvers<FileDigests>();
      asked.set(++last, waiting);
      order({ imageId, path, size, conclude: last });
      return waiting.promise;
    },
    forget: (imageId) => order({ forget: imageId }),
    async close() {
      await worker.terminate();
      for (const waiting of asked.values()) waiting.reject(new Error('the gateway is stopping'));
      asked.clear();
    },
  };
}
