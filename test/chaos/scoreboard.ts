import type { Finding } from './finding.ts';
import type { Entry } from './journal.ts';
import { type Options, replayOf } from './options.ts';

/** What a run has shown, as scripts read it. */
export type Score = {
  seed: string;
  minutes: number;
  photos: number;
  processes: number;
  target: string;
  violations: number;
  invariants: { name: string; violations: number; measured: string; examples: string[] }[];
  disturbances: Record<string, number>;
  skipped: string[];
  replay: string;
  /** Where the journal is; null when it was removed because there was nothing to look for. */
  journal: string | null;
};

const EXAMPLES = 20;

export function makeScore(
  options: Options,
  findings: Finding[],
  journal: readonly Entry[],
  skipped: string[],
  journalFile: string | null,
): Score {
  const { seed, minutes, photos, processes, target } = options;
  const names = journal.flatMap((entry) => (entry.kind === 'begin' ? [entry.name] : []));
  return {
    ...{ seed, minutes, photos, processes, target },
    violations: findings.reduce((sum, { violations }) => sum + violations.length, 0),
    invariants: findings.map(({ invariant, violations, measured }) => ({
      name: invariant,
      violations: violations.length,
      measured,
      examples: violations.slice(0, EXAMPLES),
    })),
    disturbances: Object.fromEntries(
      [...Map.groupBy(names, (name) => name)].map(([name, all]) => [name, all.length]).sort(),
    ),
    skipped,
    replay: replayOf(options),
    journal: journalFile,
  };
}

/** The same for people. */
export function formatScore(score: Score): string {
  const width = Math.max(...score.invariants.map(({ name }) => name.length));
  const lines = score.invariants.flatMap(({ name, violations, measured, examples }) => [
    `  ${violations === 0 ? 'ok  ' : 'FAIL'}  ${name.padEnd(width)}  ${`${violations}`.padStart(5)}   ${measured}`,
    ...examples.slice(0, 5).map((example) => `          - ${example}`),
    ...(violations > 5 ? [`          - and ${violations - 5} more`] : []),
  ]);
  const counts = Object.entries(score.disturbances).map(([name, count]) => `${count} × ${name}`);
  const { seed, photos, minutes, processes, target } = score;
  return [
    '',
    `  ${target}, seed ${seed}: ${photos} photos, ${processes} process${processes === 1 ? '' : 'es'}, ${minutes} min of disturbances`,
    `  ${counts.join(', ')}`,
    ...score.skipped.map((what) => `  left out: ${what}`),
    '',
    `        ${'invariant'.padEnd(width)}  wrong   measured on`,
    ...lines,
    '',
    score.violations === 0 ? '  No violations.' : `  ${score.violations} violations.`,
    `  Again: ${score.replay}`,
    ...(score.journal ? [`  What happened: ${score.journal}`] : []),
    '',
  ].join('\n');
}
