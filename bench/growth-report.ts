import { benchGrowth, type GrowthFigures } from './growth.ts';
import type { Part } from './part.ts';
import { table } from './table.ts';

const full = { tickets: 1_000_000, waiting: 100_000, rounds: 41 };
const brief = { tickets: 100_000, waiting: 10_000, rounds: 21 };

/** The same acts with a thousand tickets and with a million. */
export const growth: Part = async ({ quick, say }) => {
  const figures = await benchGrowth(quick ? brief : full, say);
  return { figures, report: report(figures) };
};

const TARGET = 1.5;

function report({ small, large, rows }: GrowthFigures): string {
  const lines = rows.map(({ act, smallMs, largeMs, ratio, plans }) => [
    act,
    smallMs.toFixed(2),
    largeMs.toFixed(2),
    ratio.toFixed(2),
    ratio <= TARGET ? 'ok' : 'MISSED',
    plans.flatMap(({ faults }) => faults).join('; ') || '-',
  ]);
  const head = [
    'act',
    `ms at ${small.tickets}`,
    `ms at ${large.tickets}`,
    'ratio',
    `≤ ${TARGET}`,
    'large scans and sorts',
  ];
  const plans = rows.flatMap(({ act, plans }) => {
    const ways = plans.map(({ pages, paths }) => `    ${pages} pages: ${paths.join(', ') || 'no table'}\n`);
    return ways.length > 0 ? [`\n  ${act}\n`, ...ways] : [];
  });
  return `\n${large.tickets} tickets, ${large.images} images\n${table(head, lines)}\nHow the large one did it\n${plans.join('')}`;
}
