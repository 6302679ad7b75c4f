import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';

/** Idle database connections, and those kept for the storage: pools fill up to these and stay. */
const POOLED = 24;
/** Compiled code, caches and pools of a process that has worked, beyond one that has just begun. */
const GROWTH_BYTES = 24 * 1024 * 1024;

/** Whether the processes are back where they were before all this. */
export function checkProcesses({ vitals: { before, after } }: Evidence): Finding[] {
  const descriptors: string[] = [];
  const memory: string[] = [];
  const descriptorCounts: string[] = [];
  const sizes: string[] = [];
  for (const now of after) {
    const then = before.find(({ index }) => index === now.index);
    if (!then) continue;
    descriptorCounts.push(`${then.descriptors} → ${now.descriptors}`);
    sizes.push(
      `heap ${mib(then.heapBytes)} → ${mib(now.heapBytes)} MiB (resident ${mib(then.rssBytes)} → ${mib(now.rssBytes)})`,
    );
    const of = `process ${now.index}`;
    if (now.stagedFiles > 0) descriptors.push(`${of}: ${now.stagedFiles} staged files are still open`);
    if (now.clientSockets > 0) descriptors.push(`${of}: ${now.clientSockets} connections of clients are still open`);
    if (now.descriptors > then.descriptors + POOLED)
      descriptors.push(`${of}: ${now.descriptors} descriptors, ${then.descriptors} at the start`);
    if (now.heapBytes === null || then.heapBytes === null) memory.push(`${of} did not say what it uses`);
    else if (now.heapBytes > then.heapBytes + GROWTH_BYTES)
      memory.push(`${of}: ${mib(now.heapBytes)} MiB in use, ${mib(then.heapBytes)} at the start`);
  }
  const absent = before.filter(({ index }) => !after.some((now) => now.index === index));
  return [
    finding(
      'processes missing at the end',
      `${before.length} processes`,
      absent.map(({ index }) => `process ${index}`),
    ),
    finding('descriptors not given back', descriptorCounts.join('; '), descriptors),
    finding('memory not given back', sizes.join('; '), memory),
  ];
}

function mib(bytes: number | null): string {
  return bytes === null ? '?' : `${Math.round(bytes / 1024 / 1024)}`;
}
