import type { Locker } from '@tus/server';
import { Image } from '../../database/models.ts';
import { type FinishDeps, finishUpload } from './finish.ts';

/**
 * Commits an upload whose bytes are all here, as the request that brought the last one would have: for recovery, when
 * that request died. Waits for whoever has the upload; throws what `finishUpload` throws.
 */
export function createCommit(deps: FinishDeps, locker: Locker): (image: Pick<Image, 'id'>) => Promise<void> {
  return async ({ id }) => {
    const lock = locker.newLock(id);
    await lock.lock(AbortSignal.timeout(60_000), () => {});
    try {
      const image = await Image.query(deps.db).findById(id);
      const size = await deps.staging.sizeOf(id);
      if (image?.status !== 'uploading' || size === null || size !== image.size) return;
      await finishUpload(deps, image, size);
    } finally {
      await lock.unlock();
    }
  };
}
