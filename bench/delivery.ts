import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jpeg } from '../test/support/images.ts';
import { targetOf } from './contenders.ts';
import { type Backlog, type Drain, drainBySdk, drainByWorkers } from './drain.ts';
import { load } from './load.ts';
import { measureLone } from './lone.ts';
import { type Service, startService } from './service.ts';
import { median } from './statistics.ts';

export type DeliveryFigures = Backlog & {
  bytes: number;
  /** One of each in every round, each of them first as often as the other. */
  sdk: Drain[];
  hopla: Drain[];
  /** The median of hopla's rate to the SDK's of the same round. */
  ratio: number;
  /** Medians, in milliseconds: a transaction of one row, and from the commit of a lone image to its first byte at the store. */
  commitMs: number;
  firstByteMs: number;
};

export type DeliveryOptions = Backlog & { bytes: number; rounds: number; lone: number };

/** Images that were uploaded while no worker ran, sent by the workers, and the same files by the store's SDK alone. */
export async function benchDelivery(
  { bytes, rounds, lone, ...backlog }: DeliveryOptions,
  say: (line: string) => void,
): Promise<DeliveryFigures> {
  const resting = { TRANSFER_CONCURRENCY: '0' };
  const service = await startService(resting);
  try {
    const copies = join(service.stagingDirectory, '..', 'copies');
    /** Queues images, and sends them in both ways. */
    const compete = async (round: number, some: Backlog) => {
      const { url } = await service.startAgain(resting);
      await upload({ ...service, url }, some.images + some.warmUp, bytes, 8);
      await cp(service.stagingDirectory, copies, { recursive: true, filter: (path) => !path.includes('/.') });
      const bySdk = () => drainBySdk(service, { directory: copies, folder: `round-${round}` }, some);
      // Which one comes first makes a difference, whoever it is.
      const first = round % 2 === 0 ? await bySdk() : null;
      const hopla = await drainByWorkers(service, some);
      const sdk = first ?? (await bySdk());
      await rm(copies, { recursive: true });
      return { sdk, hopla };
    };
    say('warming up the store');
    await compete(0, { ...backlog, images: backlog.warmUp });
    const drains: Awaited<ReturnType<typeof compete>>[] = [];
    for (let round = 1; round <= rounds; round++) {
      const { sdk, hopla } = await compete(round, backlog);
      say(
        `${backlog.images} images, the SDK alone ${rateOf(sdk).toFixed(0)}/s, the workers ${rateOf(hopla).toFixed(0)}/s`,
      );
      drains.push({ sdk, hopla });
    }
    say('lone images');
    const running = { ...service, ...(await service.startAgain({ TRANSFER_CONCURRENCY: `${backlog.concurrency}` })) };
    const times = await measureLone(running, lone, () => upload(running, 1, bytes, 1));
    return {
      ...backlog,
      bytes,
      sdk: drains.map(({ sdk }) => sdk),
      hopla: drains.map(({ hopla }) => hopla),
      ratio: median(drains.map(({ sdk, hopla }) => rateOf(hopla) / rateOf(sdk))),
      commitMs: median(times.commitMs),
      firstByteMs: median(times.firstByteMs),
    };
  } finally {
    await service.close();
  }
}

async function upload(
  service: Pick<Service, 'url' | 'token'>,
  images: number,
  bytes: number,
  connections: number,
): Promise<void> {
  const target = await targetOf(service, images, jpeg({ bytes }), null);
  await load(target, images, connections);
}

export function rateOf({ images, seconds }: Drain): number {
  return images / seconds;
}
