import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { claimPlaces, type PlaceRequest, type TakePlace } from './claim-slots.ts';
import type { EnqueueClaimed, EnqueueTransfers, ReserveTransfers } from './enqueue.ts';
import { createGroupCommit } from './group-commit.ts';
import { receiveImages } from './receive-images.ts';
import type { ReceivedImage } from './received-image.ts';

/** Writes of uploads, which any number of uploads may ask for at once. Each write is durable when its promise resolves. */
export type GroupedWrites = {
  takePlace: TakePlace;
  /**
   * Counts an image as received and queues its transfer, in one transaction: only then may hopla acknowledge the last byte.
   * The staged file must be fsynced before. False when the image is no longer `uploading`.
   */
  receive(image: ReceivedImage): Promise<boolean>;
};

export type GroupedWritesDeps = {
  db: Database;
  /** This process, as the column `holder` of its uploads names it. */
  holder: string;
  enqueue: EnqueueClaimed;
  reserve: ReserveTransfers;
  /** Called with the size of each image, in bytes, once its receipt is committed. */
  countReceived: (bytes: number) => void;
};

/**
 * Each group is one statement, and so one transaction without BEGIN and COMMIT: for a lone image, these two round trips
 * would cost more than the statement.
 */
export function createGroupedWrites({ db, holder, enqueue, reserve, countReceived }: GroupedWritesDeps): GroupedWrites {
  /** Runs the statement that receives images, and tells the transfer side how the statement ended. */
  const commit = async (arrived: ReceivedImage[], write: (enqueue: EnqueueTransfers) => Promise<Image[]>) => {
    const { ids, settle } = reserve(arrived);
    const [outcome] = await Promise.allSettled([write((images) => enqueue(images, ids))]);
    settle(outcome);
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  };

  const takePlace = createGroupCommit(async (places: PlaceRequest[]) => {
    const oneShots = places.flatMap(({ facts, ...place }) => (facts ? [{ ...place, facts }] : []));
    const placed = await commit(oneShots, (enqueuePlaced) => claimPlaces(db, places, enqueuePlaced));
    const byId = new Map(placed.map((image) => [image.id, image]));
    return places.map(({ imageId, facts }): Image | null => {
      const image = byId.get(imageId) ?? null;
      if (image && facts) countReceived(facts.size);
      return image;
    });
  });
  const receive = createGroupCommit(async (images: ReceivedImage[]) => {
    const moved = await commit(images, (enqueueMoved) => receiveImages(db, images, holder, enqueueMoved));
    const received = new Set(moved.map(({ id }) => id));
    return images.map(({ imageId, facts }) => {
      if (received.has(imageId)) countReceived(facts.size);
      return received.has(imageId);
    });
  });
  return { takePlace, receive };
}
