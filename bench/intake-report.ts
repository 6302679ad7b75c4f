import { benchIntake, type Row } from './intake.ts';
import type { Part } from './part.ts';
import { table } from './table.ts';

const KIB = 1024;
const full = {
  sizes: [64 * KIB, 512 * KIB, 2048 * KIB, 12_288 * KIB],
  connections: [1, 8, 64],
  rounds: 5,
  secondsPerRound: 2,
};
const brief = { sizes: [64 * KIB, 2048 * KIB], connections: [8], rounds: 3, secondsPerRound: 1 };

/** Photos in, beside a plain pipeline and the stock tus server. */
export const intake: Part = async ({ quick, say }) => {
  const rows = await benchIntake(quick ? brief : full, say);
  return { figures: rows, report: reportIntake(rows) };
};

/** A table for each load, with every rate beside that of the stock server and of the fsynced pipeline. */
function reportIntake(all: Row[]): string {
  const groups = Map.groupBy(all, (row) => row.load);
  return [...groups].map(([label, group]) => `\n${label}\n${tableOf(group)}`).join('');
}

function tableOf(group: Row[]): string {
  const rateOf = (name: string) => group.find(({ contender }) => contender === name)?.imagesPerSecond ?? Number.NaN;
  const stock = rateOf('stock @tus/server');
  const synced = rateOf('plain + fsync');
  const head = [
    'contender',
    'images/s',
    'spread',
    '× stock',
    '× fsync',
    'p50 ms',
    'p99 ms',
    'CPU ms/image',
    'client CPU',
    'peak MiB',
  ];
  const lines = group.map((row) => [
    row.contender,
    row.imagesPerSecond.toFixed(0),
    `${(row.spread * 100).toFixed(0)} %`,
    (row.imagesPerSecond / stock).toFixed(2),
    (row.imagesPerSecond / synced).toFixed(2),
    row.p50Ms.toFixed(1),
    row.p99Ms.toFixed(1),
    row.cpuMsPerImage.toFixed(2),
    `${(row.clientShare * 100).toFixed(0)} %`,
    row.peakMiB.toFixed(0),
  ]);
  return table(head, lines);
}
