import type { Knex } from 'knex';
import type { Database } from '../database/connection.ts';
import { createGroupCommit } from '../database/group-commit.ts';
import type { Image } from '../database/models.ts';
import { claimPlaces, type PlaceRequest, type TakePlace } from './claim.ts';
import { lockTickets } from './lock.ts';
import { type ReceivedImage, receiveImages } from './receive.ts';

/**
 * Puts the transfers of images into the queue, inside the given transaction. What it resolves to is to be told how that
 * ended: false when it failed, or when nobody knows.
 */
export type EnqueueTransfers = (trx: Knex.Transaction, images: Image[]) => Promise<(committed: boolean) => void>;

/** What may be asked for at any moment, by any number of uploads at once: each is durable when it resolves. */
export type Arrivals = {
  takePlace: TakePlace;
  /**
   * Counts an image as received and queues its transfer, in one transaction: from here on its last byte may be
   * acknowledged. The staged file must be fsynced before. False when the image is no longer `uploading`.
   */
  receive(image: ReceivedImage): Promise<boolean>;
};

type Arrival = { place: PlaceRequest } | { received: ReceivedImage };

/**
 * @param holder this process, in the column `holder` of the uploads that it receives
 * @param countReceived told of each image once its receipt is committed, with its size in bytes
 */
export function createArrivals(
  db: Database,
  holder: string,
  enqueue: EnqueueTransfers,
  countReceived: (bytes: number) => void,
): Arrivals {
  const commit = createGroupCommit(async (arrivals: Arrival[]): Promise<(Image | null)[]> => {
    const places = arrivals.flatMap((arrival) => ('place' in arrival ? [arrival.place] : []));
    const images = arrivals.flatMap((arrival) => ('received' in arrival ? [arrival.received] : []));
    let ended: (committed: boolean) => void = () => {};
    const run = async (trx: Knex.Transaction) => {
      const ticketIds = [...places, ...images].map(({ ticketId }) => ticketId);
      if (places.length > 0 && images.length > 0) await lockTickets(trx, ticketIds, []);
      const placed = places.length > 0 ? await claimPlaces(trx, places) : [];
      const received = images.length > 0 ? await receiveImages(trx, images, holder) : [];
      const owed = [...placed.filter(({ status }) => status === 'received'), ...received];
      if (owed.length > 0) ended = await enqueue(trx, owed);
      return new Map([...placed, ...received].map((image) => [image.id, image]));
    };
    const done = await db.transaction(run).catch((error) => {
      ended(false);
      throw error;
    });
    ended(true);
    return arrivals.map((arrival) => {
      const outcome = done.get('place' in arrival ? arrival.place.imageId : arrival.received.imageId) ?? null;
      const facts = 'place' in arrival ? arrival.place.facts : arrival.received.facts;
      if (outcome && facts) countReceived(facts.size);
      return outcome;
    });
  });
  return {
    takePlace: (place) => commit({ place }),
    receive: async (received) => (await commit({ received })) !== null,
  };
}
