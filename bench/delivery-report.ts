import { benchDelivery, type DeliveryFigures, type DeliveryOptions, rateOf } from './delivery.ts';
import type { Drain } from './drain.ts';
import type { Part } from './part.ts';
import { median } from './statistics.ts';
import { table } from './table.ts';

const KIB = 1024;
const full: DeliveryOptions = { images: 5_000, warmUp: 1_000, bytes: 20 * KIB, concurrency: 8, rounds: 4, lone: 301 };
const brief: DeliveryOptions = { ...full, images: 2_000, lone: 101 };

/** Queued photos out, beside the store's SDK in a loop. */
export const delivery: Part = async ({ quick, say }) => {
  const figures = await benchDelivery(quick ? brief : full, say);
  return { figures, report: report(figures) };
};

const DRAIN_TARGET = 0.9;
const COMMITS_TARGET = 5;

function report({ images, concurrency, bytes, sdk, hopla, ratio, commitMs, firstByteMs }: DeliveryFigures): string {
  const line = (name: string, drains: Drain[]) => {
    const rates = drains.map((drain) => rateOf(drain).toFixed(0)).toSorted();
    const cpu = (['sender', 'postgres', 'store'] as const).map((who) => median(drains.map(({ cpuMs }) => cpuMs[who])));
    const all = cpu.reduce((sum, ms) => sum + ms, 0);
    return [name, median(drains.map(rateOf)).toFixed(0), rates.join(' '), ...[...cpu, all].map((ms) => ms.toFixed(2))];
  };
  const lines = [line('the SDK in a loop', sdk), line('hopla: fetched, sent, recorded, file deleted', hopla)];
  return `
${images} images of ${bytes / KIB} KiB in each of ${sdk.length} rounds, ${concurrency} at once; CPU in ms per image
${table(['sender', 'images/s', '(rounds)', 'sender', 'Postgres', 'store', 'all'], lines)}
  hopla / SDK: ${ratio.toFixed(2)} (target: at least ${DRAIN_TARGET}) ${ratio >= DRAIN_TARGET ? 'ok' : 'MISSED'}
  commit of a lone image → its first byte at the store: p50 ${firstByteMs.toFixed(2)} ms, ${(firstByteMs / commitMs).toFixed(1)} times a plain commit (p50 ${commitMs.toFixed(2)} ms; target: at most ${COMMITS_TARGET}) ${firstByteMs <= COMMITS_TARGET * commitMs ? 'ok' : 'MISSED'}
`;
}
