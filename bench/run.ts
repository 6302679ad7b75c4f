/** `npm run bench -- [--quick] [--json]`: hopla beside its peers, in one run, as ratios. */
import { parseArgs } from 'node:util';
import { benchIntake, type Row } from './intake.ts';

const { values } = parseArgs({ options: { quick: { type: 'boolean' }, json: { type: 'boolean' } } });
const KIB = 1024;
const full = {
  sizes: [64 * KIB, 512 * KIB, 2048 * KIB, 12_288 * KIB],
  connections: [1, 8, 64],
  rounds: 5,
  secondsPerRound: 2,
};
const quick = { sizes: [64 * KIB, 2048 * KIB], connections: [8], rounds: 3, secondsPerRound: 1 };

const rows = await benchIntake(values.quick ? quick : full, (line) => process.stderr.write(`intake: ${line}\n`));
process.stdout.write(values.json ? `${JSON.stringify(rows, null, 2)}\n` : report(rows));

/** A table for each load, with every rate beside that of the stock server and of the fsynced pipeline. */
function report(all: Row[]): string {
  const groups = Map.groupBy(all, (row) => row.load);
  return [...groups].map(([label, group]) => `\n${label}\n${table(group)}`).join('');
}

function table(group: Row[]): string {
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
  const widths = head.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]?.length ?? 0)));
  const format = (line: string[]) =>
    `  ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join('  ')}\n`;
  return [head, ...lines].map(format).join('');
}
