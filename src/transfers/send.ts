import { HoplaError } from '../errors.ts';
import type { Receipt, Storage } from '../storage/port.ts';
import type { Checked } from '../uploads/disk-thread.ts';
import type { Staging } from '../uploads/staging.ts';
import type { OwedImage } from './queue.ts';

/**
 * Sends an image to the storage, if its staged file is what was received: `checking` says what it has now. Throws what
 * `Storage.put` throws, and `staged-file-lost` for a file that is gone or was changed.
 */
export type Send = (
  image: OwedImage,
  checking: Promise<Checked>,
  options: Parameters<Storage['put']>[1],
) => Promise<Receipt>;

export function createSend(storage: Storage, staging: Pick<Staging, 'pathOf'>): Send {
  return async (image, checking, options) => {
    const { id, ticketId, size, filename, contentType } = image;
    const { sha256, md5, content } = await checking.catch(unreadable);
    // The table's constraints promise the size of every received image.
    if (size === null || sha256 !== image.sha256)
      throw new HoplaError('staged-file-lost', 'The staged file has other bytes than those that were received.');
    const staged = { id, ticketId, path: staging.pathOf(id), content, bytes: size, md5, filename, contentType };
    return storage.put(staged, options);
  };
}

function unreadable(cause: NodeJS.ErrnoException): never {
  if (cause.code === 'ENOENT') throw new HoplaError('staged-file-lost', undefined, { cause });
  throw new HoplaError('storage-unavailable', `The staged file cannot be read: ${cause.message}`, { cause });
}
