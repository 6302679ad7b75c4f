import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import { claimPlaces, type PlaceRequest, type TakePlace } from './claim-slots.ts';
import { createGroupCommit } from './group-commit.ts';
import type { Beside } from './move-images.ts';
import { type ReceivedImage, receiveImages } from './receive-images.ts';

/**
 * Makes SQL that puts the transfers of images into the queue, for the statement that receives them.
 *
 * @param images what stands behind FROM: rows with `id` and `staging`
 */
export type EnqueueTransfers = (images: string) => Beside;

/** Runs the one statement that receives images, and says how it queues their transfers. Resolves to the same. */
export type CommitReceipts = (
  images: ReceivedImage[],
  receive: (enqueue: EnqueueTransfers) => Promise<Image[]>,
) => Promise<Image[]>;

/** What may be asked for at any moment, by any number of uploads at once: each is durable when it resolves. */
export type Arrivals = {
  takePlace: TakePlace;
  /**
   * Counts an image as received and queues its transfer, in one transaction: from here on its last byte may be
   * acknowledged. The staged file must be fsynced before. False when the image is no longer `uploading`.
   */
  receive(image: ReceivedImage): Promise<boolean>;
};

/**
 * Each group is one statement, and so one transaction without BEGIN and COMMIT: the ways there and back cost more than what
 * is done for a lone image.
 *
 * @param holder this process, in the column `holder` of the uploads that it receives
 * @param countReceived told of each image once its receipt is committed, with its size in bytes
 */
export function createArrivals(
  db: Database,
  holder: string,
  commit: CommitReceipts,
  countReceived: (bytes: number) => void,
): Arrivals {
  const takePlace = createGroupCommit(async (places: PlaceRequest[]) => {
    const whole = places.filter((place) => place.facts !== null) as ReceivedImage[];
    const placed = await commit(whole, (enqueue) => claimPlaces(db, places, enqueue));
    const byId = new Map(placed.map((image) => [image.id, image]));
    return places.map(({ imageId, facts }): Image | null => {
      const image = byId.get(imageId) ?? null;
      if (image && facts) countReceived(facts.size);
      return image;
    });
  });
  const receive = createGroupCommit(async (images: ReceivedImage[]) => {
    const moved = await commit(images, (enqueue) => receiveImages(db, images, holder, enqueue));
    const received = new Set(moved.map(({ id }) => id));
    return images.map(({ imageId, facts }) => {
      if (received.has(imageId)) countReceived(facts.size);
      return received.has(imageId);
    });
  });
  return { takePlace, receive };
}
