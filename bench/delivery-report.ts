import { benchDelivery, type DeliveryFigures } from './delivery.ts';
import type { Part } from './part.ts';
import { table } from './table.ts';

const KIB = 1024;
const full = { images: 5_000, bytes: 20 * KIB, concurrency: 8, lone: 101 };
const brief = { ...full, images: 1_000, lone: 31 };

/** Queued photos out, beside the store's SDK in a loop. */
export const delivery: Part = async ({ quick, say }) => {
  const figures = await benchDelivery(quick ? brief : full, say);
  return { figures, report: report(figures) };
};

const DRAIN_TARGET = 0.9;
const COMMITS_TARGET = 5;

function report({ concurrency, bytes, sdk, hopla, ratio, commitMs, firstByteMs }: DeliveryFigures): string {
  const line = (name: string, { images, seconds, cpuMsPerImage }: DeliveryFigures['hopla']) => [
    ...[name, `${images}`, (images / seconds).toFixed(0), cpuMsPerImage.toFixed(2)],
  ];
  const lines = [
    ...sdk.map((drain) => line('the SDK in a loop', drain)),
    line('hopla: fetched, sent, recorded, file deleted', hopla),
  ];
  return `
images of ${bytes / KIB} KiB, ${concurrency} at once
${table(['sender', 'images', 'images/s', 'CPU ms/image'], lines)}
  hopla / SDK: ${ratio.toFixed(2)} (target: at least ${DRAIN_TARGET}) ${ratio >= DRAIN_TARGET ? 'ok' : 'MISSED'}
  commit of a lone image → its first byte at the store: p50 ${firstByteMs.toFixed(2)} ms, ${(firstByteMs / commitMs).toFixed(1)} times a plain commit (p50 ${commitMs.toFixed(2)} ms; target: at most ${COMMITS_TARGET}) ${firstByteMs <= COMMITS_TARGET * commitMs ? 'ok' : 'MISSED'}
`;
}
