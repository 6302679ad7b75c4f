import { HoplaError } from '../errors.ts';
import type { Put, Storage } from '../storage/port.ts';
import type { Checked } from '../uploads/disk-thread.ts';
import type { Staging } from '../uploads/staging.ts';
import type { OwedImage } from './queue.ts';

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

export type PrepareSending = (image: Omit<OwedImage, 'attempts'>) => Sending;

/** @param checkStaged what a staged file has now: digests as lower-case hex, and its bytes, if they are few; see disk-thread.ts */
export function createSending(
  storage: Storage,
  staging: Pick<Staging, 'pathOf'>,
  checkStaged: (imageId: string) => Promise<Checked>,
): PrepareSending {
  return ({ id, ticketId, size, filename, contentType, sha256 }) => {
    const prepare = async () => {
      const { md5, content, ...found } = await checkStaged(id).catch(unreadable);
      // The table's constraints promise the size of every received image.
      if (size === null || found.sha256 !== sha256)
        throw new HoplaError('staged-file-lost', 'The staged file has other bytes than those that were received.');
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
    const prepared = prepare();
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
