import { closeSync, constants, openSync, write, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { BLOCK_BYTES } from './buffer-pool.ts';

/** Fewer are copied in less time than a call to Node's pool or a disk takes. */
const SMALL_BYTES = 64 * 1024;

const writeLater = promisify(write);

/** Writes bytes that lie in memory as they will in the file: at the same place in a block. Rejects with what the disk says. */
export type Write = (path: string, file: number, position: number, bytes: Uint8Array) => Promise<void>;

/**
 * Writes large pieces past the page cache (O_DIRECT), where the filesystem can: an image is not read again before it is sent,
 * and looking for memory to cache it in takes longer than all else that is done for it. What is not a whole block goes
 * through the cache, as its other half may still come.
 */
export function createWrite(): Write {
  let direct = constants.O_DIRECT !== undefined;

  /** As many of the bytes as the filesystem takes so; they begin and end at a block. */
  const writeDirectly = async (path: string, position: number, bytes: Uint8Array): Promise<number> => {
    try {
      const file = openSync(path, constants.O_WRONLY | constants.O_DIRECT);
      try {
        return (await writeLater(file, bytes, 0, bytes.length, position)).bytesWritten;
      } finally {
        closeSync(file);
      }
    } catch (error) {
      // "The EINVAL error may be returned by open(2) if the filesystem does not support O_DIRECT" or by write(2) if it wants
      // larger blocks.
      if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      direct = false;
      return 0;
    }
  };

  return async (path, file, position, bytes) => {
    const end = position + bytes.length;
    const blocks = { begin: up(position), end: down(end) };
    let done = position;
    if (direct && blocks.end - blocks.begin > SMALL_BYTES) {
      // Less than a block. Without a wait: the disk is to be busy when this returns, while the caller hashes the same bytes.
      writeNow(file, position, bytes.subarray(0, blocks.begin - position));
      done = blocks.begin;
      while (direct && done < blocks.end)
        done += await writeDirectly(path, done, bytes.subarray(done - position, blocks.end - position));
    }
    await writeCached(file, done, bytes.subarray(done - position));
  };
}

/** Large pieces by way of Node's pool, so that they are copied while other work is done here. */
async function writeCached(file: number, position: number, bytes: Uint8Array): Promise<void> {
  if (bytes.length <= SMALL_BYTES) return writeNow(file, position, bytes);
  // write(2) may take less than it was given.
  for (let done = 0; done < bytes.length; )
    done += (await writeLater(file, bytes, done, bytes.length - done, position + done)).bytesWritten;
}

function writeNow(file: number, position: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, position + done);
}

function up(position: number): number {
  return Math.ceil(position / BLOCK_BYTES) * BLOCK_BYTES;
}

function down(position: number): number {
  return Math.floor(position / BLOCK_BYTES) * BLOCK_BYTES;
}
