import { table } from './table.ts';

/** One figure beside what it has to be, and beside a peer's where there is one. */
export type Figure = { what: string; measured: number; unit: string; target?: Target; peer?: Peer };
type Target = { atMost: number } | { atLeast: number };
type Peer = { name: string; measured: number };

/** Figures as a table that says which of them meet their target. */
export function report(title: string, figures: Figure[]): string {
  const lines = figures.map(({ what, measured, unit, target, peer }) => [
    what,
    `${short(measured)} ${unit}`,
    target ? `${'atMost' in target ? '≤' : '≥'} ${'atMost' in target ? target.atMost : target.atLeast}` : '',
    target ? (meets(measured, target) ? 'met' : 'MISSED') : '',
    peer ? `${short(peer.measured)} ${unit}: ${peer.name}` : '',
  ]);
  return `\n${title}\n${table(['', 'measured', 'target', '', 'beside'], lines)}`;
}

function meets(measured: number, target: Target): boolean {
  return 'atMost' in target ? measured <= target.atMost : measured >= target.atLeast;
}

function short(value: number): string {
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
