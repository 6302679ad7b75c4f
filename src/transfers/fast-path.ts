import type { Image } from '../database/models.ts';
import { isDatabaseOutage } from '../database/outage.ts';
import type { CommitReceipts } from '../ledger/grouped-writes.ts';
import type { ReceivedImage } from '../ledger/receive-images.ts';
import { SMALL_BYTES } from '../storage/port.ts';
import { enqueueTransfers } from './queue.ts';
import type { Expected, Workers } from './worker.ts';

/**
 * Hands images to the workers of the process that receives them, as many as have nothing to do: their jobs are claimed by the
 * statement that queues them. So there is no moment at which another process could fetch them too, nobody has to be called
 * and to look into the queue, and the first byte leaves right after the commit. A process that dies leaves a job as it does
 * after a fetch.
 */
export type HandOver = {
  commit: CommitReceipts;
  /** Whether an image that was received is in good hands, so that nobody needs to be called. */
  has(imageId: string): boolean;
  /** Whether an image of so many bytes would be given to a worker whole, were it received now. */
  wants(bytes: number): boolean;
  /** From here on there are workers. */
  attach(workers: Workers): void;
};

export function createHandOver(): HandOver {
  const given = new Set<string>();
  let workers: Workers | undefined;

  /** Lets workers begin with as many of the images as they have room for; the result is to be told what became of them. */
  const give = (images: ReceivedImage[]) => {
    const some = images.filter(({ imageId }) => !given.has(imageId)).slice(0, workers?.room() ?? 0);
    const all = some.flatMap((image) => (workers ? { id: image.imageId, expected: workers.expect(image) } : []));
    const ids = all.map(({ id }) => id);
    for (const id of ids) given.add(id);
    const drop = (id: string, expected: Expected) => {
      given.delete(id);
      expected.drop();
    };
    return {
      ids,
      received(images: Image[]) {
        const received = new Map(
          images.filter(({ status }) => status === 'received').map((image) => [image.id, image]),
        );
        for (const { id, expected } of all) {
          const image = received.get(id);
          if (image) void expected.send(image).then(() => given.delete(id));
          else drop(id, expected);
        }
      },
      failed(error: unknown) {
        for (const { id, expected } of all) {
          // Otherwise it is certain that nothing was committed.
          if (!isDatabaseOutage(error)) drop(id, expected);
          else
            void expected.handBack().then(() => {
              given.delete(id);
              workers?.wake();
            });
        }
      },
    };
  };

  return {
    async commit(arrived, receive) {
      const { ids, received, failed } = give(arrived);
      try {
        const images = await receive((images) => enqueueTransfers(images, ids));
        received(images);
        return images;
      } catch (error) {
        failed(error);
        throw error;
      }
    },
    has: (imageId) => given.has(imageId),
    wants: (bytes) => bytes <= SMALL_BYTES && (workers?.room() ?? 0) > 0,
    attach(those) {
      workers = those;
    },
  };
}
