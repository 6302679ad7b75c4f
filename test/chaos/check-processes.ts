import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';

/** Idle database connections, and those kept for the storage: pools fill up to these and stay. */
const POOLED = 24;
/** A heap that was used has grown; one that leaks goes on. */
const GROWTH_BYTES = 160 * 1024 * 1024;

/** Whether the processes are back where they were before all this. */
export function checkProcesses({ vitals: { before, after } }: Evidence): Finding[] {
  const descriptors: string[] = [];
  const memory: string[] = [];
  const measured: string[] = [];
  for (const now of after) {
    const then = before.find(({ index }) => index === now.index);
    if (!then) continue;
    measured.push(
      `${then.descriptors} → ${now.descriptors} descriptors, ${mib(then.rssBytes)} → ${mib(now.rssBytes)} MiB`,
    );
    const of = `process ${now.index}`;
    if (now.stagedFiles > 0) descriptors.push(`${of}: ${now.stagedFiles} staged files are still open`);
    if (now.clientSockets > 0) descriptors.push(`${of}: ${now.clientSockets} connections of clients are still open`);
    if (now.descriptors > then.descriptors + POOLED)
      descriptors.push(`${of}: ${now.descriptors} descriptors, ${then.descriptors} at the start`);
    if (now.rssBytes > then.rssBytes + GROWTH_BYTES)
      memory.push(`${of}: ${mib(now.rssBytes)} MiB, ${mib(then.rssBytes)} at the start`);
  }
  const absent = before.filter(({ index }) => !after.some((now) => now.index === index));
  return [
    finding(
      'processes missing at the end',
      `${before.length} processes`,
      absent.map(({ index }) => `process ${index}`),
    ),
    finding('descriptors not given back', measured.join('; '), descriptors),
    finding('memory not given back', measured.join('; '), memory),
  ];
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)}`;
}
