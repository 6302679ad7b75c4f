import type { Lock, Locker, RequestRelease } from '@tus/server';
import type { Logger } from 'pino';
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { HoplaError } from '../model/errors.ts';
import { isId } from '../model/ids.ts';
import { BoundedMap } from '../runtime/bounded-map.ts';
import type { Intake } from '../staging/ingest.ts';
import type { Staging } from '../staging/local/folder.ts';
import type { LocalLocker } from './local-lock.ts';
import type { HandOver, Peers } from './membership-unix.ts';

/**
 * Which process receives which upload: the column `holder`, one process at a time.
 *
 * It changes in two ways. The holder itself hands an upload over, under its own lock, so that none of its requests
 * touches the file any more; or the holder has ended, which is certain (peers.ts), and one of the others takes it. So
 * what a process remembers of holding an upload is true until it hands it over, and no request needs to ask again.
 */
export type Holders = {
  /** Locks an upload, in this process and among all of them. */
  readonly locker: Locker;
  /** Notes that this process is about to create an upload; the name for its row. */
  claim(imageId: string): string;
  /** True when another process receives this upload, and lives. */
  isElsewhere(image: Pick<Image, 'holder'>): Promise<boolean>;
  /** Hands an upload over to another process that asks for it; see `Peers.onAsked`. */
  handOver: HandOver;
  /** Waits until no request is at an upload any more, so that others may take what this process held. */
  close(): Promise<void>;
};

export type HoldersDeps = {
  db: Database;
  staging: Staging;
  intake: Pick<Intake, 'forget'>;
  peers: Peers;
  locker: LocalLocker;
  /** How long a request waits for another process before it is told 423 `upload-locked`, in milliseconds. */
  timeoutMs: number;
  log: Logger;
};

/** An upload that fell out of this is looked up again. About 100 bytes each. */
const REMEMBERED = 20_000;
const CLOSE_MS = 2_000;

export function createHolders({ db, staging, intake, peers, locker, timeoutMs, log }: HoldersDeps): Holders {
  const held = new BoundedMap<string, true>(REMEMBERED);

  /** Makes this process the holder. Call it under the local lock. */
  const hold = async (imageId: string, signal: AbortSignal) => {
    // The database would not take it for an id.
    while (isId(imageId) && !held.has(imageId)) {
      if (signal.aborted) throw new HoplaError('upload-locked', undefined, { retryAfterMs: 1000 });
      const image = await db<{ id: string; staging: string; status: string; holder: string | null }>('images')
        .where({ id: imageId, staging: staging.id, status: 'uploading' })
        .first('holder');
      // Nothing to be held: the request finds out why.
      if (!image) return;
      if (image.holder === peers.own || (await obtain(imageId, image.holder, signal))) held.set(imageId, true);
    }
  };

  const holdSoon = async (imageId: string, signal: AbortSignal) => {
    // As every request but the first of an upload finds it.
    if (held.has(imageId)) return;
    await hold(imageId, AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]));
  };

  /** False when it is not certain who has the upload now. */
  const obtain = async (imageId: string, holder: string | null, signal: AbortSignal): Promise<boolean> => {
    if (holder !== null) {
      const answer = await peers.askFor(imageId, holder, signal).catch((error) => {
        throw new HoplaError('upload-locked', undefined, {
          retryAfterMs: 1000,
          ...(signal.aborted ? {} : { cause: error }),
        });
      });
      if (answer === 'done') return false;
    }
    if (!(await setHolder(imageId, holder, peers.own))) return false;
    log.info({ imageId, process: holder }, 'took over the upload of a process that has ended');
    return true;
  };

  const setHolder = async (imageId: string, from: string | null, to: string): Promise<boolean> => {
    const changed = await db('images').where({ id: imageId, status: 'uploading', holder: from }).update({ holder: to });
    return changed === 1;
  };

  const handOver: HandOver = async (imageId, to) => {
    const lock = locker.newLock(imageId);
    await lock.lock(AbortSignal.timeout(timeoutMs), () => {});
    try {
      held.delete(imageId);
      // The other one writes on; what is known here ends here.
      intake.forget(imageId);
      // Removes a file whose bytes were lost, before anybody believes them.
      await staging.sizeOf(imageId);
      await setHolder(imageId, peers.own, to);
    } finally {
      await lock.unlock();
    }
  };

  return {
    locker: { newLock: (id) => lockAmongAll(locker.newLock(id), (signal) => holdSoon(id, signal)) },
    claim(imageId) {
      held.set(imageId, true);
      return peers.own;
    },
    handOver,
    isElsewhere: async ({ holder }) => holder !== null && holder !== peers.own && !(await peers.isGone(holder)),
    close: () => locker.whenFree(CLOSE_MS),
  };
}

function lockAmongAll(local: Lock, hold: (signal: AbortSignal) => Promise<void>): Lock {
  return {
    async lock(signal: AbortSignal, cancel: RequestRelease) {
      await local.lock(signal, cancel);
      try {
        await hold(signal);
      } catch (error) {
        await local.unlock();
        throw error;
      }
    },
    unlock: () => local.unlock(),
  };
}
