import { isDatabaseOutage } from '../database/outage.ts';
import type { ReserveTransfers } from '../ledger/enqueue.ts';
import { SMALL_BYTES } from '../storage/port.ts';
import type { Expected, Workers } from './worker.ts';

/**
 * Gives images to the idle workers of the process that receives them: the statement that queues their jobs also claims
 * these jobs. No other process can fetch such a job in between, no worker has to be woken and to read the queue, and the
 * first byte leaves right after the commit. A process that dies leaves these jobs as it leaves fetched ones.
 */
export type FastPath = {
  reserve: ReserveTransfers;
  /** Whether a worker of this process has the image, so that no worker needs to be woken for it. */
  has(imageId: string): boolean;
  /** Whether a worker would take an image of so many bytes from memory, if it were received now. */
  wants(bytes: number): boolean;
  /** Names the workers. Until then nothing is reserved. */
  attach(workers: Workers): void;
};

export function createFastPath(): FastPath {
  const given = new Set<string>();
  let workers: Workers | undefined;

  const drop = (id: string, expected: Expected) => {
    given.delete(id);
    expected.drop();
  };
  const handBack = async (id: string, expected: Expected) => {
    await expected.handBack();
    given.delete(id);
    workers?.wake();
  };
  const send = async (id: string, expected: Expected, image: Parameters<Expected['send']>[0]) => {
    await expected.send(image);
    given.delete(id);
  };

  return {
    reserve(arriving) {
      const some = arriving.filter(({ imageId }) => !given.has(imageId)).slice(0, workers?.room() ?? 0);
      const kept = some.flatMap((image) => (workers ? { id: image.imageId, expected: workers.expect(image) } : []));
      for (const { id } of kept) given.add(id);
      return {
        ids: kept.map(({ id }) => id),
        settle(outcome) {
          const received = outcome.status === 'fulfilled' ? outcome.value : [];
          const images = new Map(received.map((image) => [image.id, image]));
          // After an outage the statement may have been committed or not; after any other error it was not.
          const uncertain = outcome.status === 'rejected' && isDatabaseOutage(outcome.reason);
          for (const { id, expected } of kept) {
            const image = images.get(id);
            if (image?.status === 'received') void send(id, expected, image);
            else if (uncertain) void handBack(id, expected);
            else drop(id, expected);
          }
        },
      };
    },
    has: (imageId) => given.has(imageId),
    wants: (bytes) => bytes <= SMALL_BYTES && (workers?.room() ?? 0) > 0,
    attach(those) {
      workers = those;
    },
  };
}
