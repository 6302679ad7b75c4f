import type { Part } from './part.ts';
import { median } from './statistics.ts';
import { table } from './table.ts';
import { benchWhole, type Job, type WholeOptions, type WholeRow } from './whole.ts';

/** The middle photo of a phone of today, one of a phone of 2012, and a large one. */
const SIZES = [164_000, 2_190_000, 12_000_000];
const full: WholeOptions = { sizes: SIZES, images: 400, warmUp: 100, connections: 8, rounds: 5 };
const brief: WholeOptions = { ...full, images: 200, rounds: 3 };

/** The whole job, from the first POST to the last photo in the store. */
export const whole: Part = async ({ quick, say }) => {
  const figures = await benchWhole(quick ? brief : full, say);
  return { figures, report: report(figures) };
};

function report(rows: WholeRow[]): string {
  const of = (jobs: Job[], value: (job: Job) => number) => median(jobs.map(value));
  const lines = rows.map(({ bytes, images, contender, jobs }) => [
    `${(bytes / 1e6).toFixed(2)} MB × ${images}, ${contender}`,
    of(jobs, ({ imagesPerSecond }) => imagesPerSecond).toFixed(1),
    of(jobs, ({ receiverCpuMs }) => receiverCpuMs).toFixed(1),
    of(jobs, ({ postgresCpuMs }) => postgresCpuMs).toFixed(1),
    of(jobs, ({ storeCpuMs }) => storeCpuMs).toFixed(1),
    of(jobs, ({ clientCpuMs }) => clientCpuMs).toFixed(1),
    ((of(jobs, ({ markCompacts }) => markCompacts) * 200) / images).toFixed(0),
  ]);
  const head = [
    'the whole job',
    'photos/s',
    'receiver ms',
    'Postgres ms',
    'store ms',
    'client ms',
    'mark-compacts/200',
  ];
  return `\nFrom the first POST to the last photo in the store; CPU in ms per photo, medians\n${table(head, lines)}`;
}
