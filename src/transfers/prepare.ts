import { hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { HoplaError } from '../model/errors.ts';
import type { Staging } from '../staging/local/folder.ts';
import type { Checked } from '../staging/local/io-thread.ts';
import type { Put, Storage } from '../storage/port.ts';
import type { OwedImage } from './job.ts';

/** An image that is read and made ready to be sent, which it need not be. */
export type Sending = {
  /** Resolves when it is ready, or is known not to be. */
  ready: Promise<void>;
  /**
   * Sends it, if its staged file is what was received. Throws what `Put` throws, and `staged-file-lost` for a file that is gone
   * or was changed.
   */
  send: Put;
};

/** @param content all that was received, while it is at hand; otherwise the staged file is read */
export type PrepareSending = (image: Omit<OwedImage, 'attempts'>, content?: Buffer | null) => Sending;

/** @param checkStaged what a staged file has now; see disk-thread.ts */
export function createSending(
  storage: Storage,
  staging: Pick<Staging, 'pathOf'>,
  checkStaged: (imageId: string) => Promise<Checked>,
): PrepareSending {
  const prepare = async (
    { id, ticketId, size, filename, contentType, sha256 }: Parameters<PrepareSending>[0],
    received: Buffer | null,
  ): Promise<Put> => {
    // Its receipt is being committed, which is more urgent.
    if (received) await setImmediate();
    const found = received
      ? { sha256, md5: hash('md5', received), content: received }
      : await checkStaged(id).catch(unreadable);
    // The table's constraints promise the size of every received image.
    if (size === null || found.sha256 !== sha256)
      throw new HoplaError('staged-file-lost', 'The staged file has other bytes than those that were received.');
    const { md5, content } = found;
    return storage.prepare({
      id,
      ticketId,
      path: staging.pathOf(id),
      content,
      bytes: size,
      md5,
      filename,
      contentType,
    });
  };
  return (image, content = null) => {
    const prepared = prepare(image, content);
    return {
      // Who sends hears what came of it.
      ready: prepared.then(noop, noop),
      send: async (options) => (await prepared)(options),
    };
  };
}

function noop() {}

function unreadable(cause: NodeJS.ErrnoException): never {
  if (cause.code === 'ENOENT') throw new HoplaError('staged-file-lost', undefined, { cause });
  throw new HoplaError('storage-unavailable', `The staged file cannot be read: ${cause.message}`, { cause });
}
