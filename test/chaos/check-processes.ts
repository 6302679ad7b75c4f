import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';

/** Idle database connections, and those kept for the storage: pools fill up to these and stay. */
const POOLED = 24;
/** Compiled code, caches and pools of a process that has worked, beyond one that has just begun. */
const GROWTH_BYTES = 24 * 1024 * 1024;

/** Whether the processes are back where they were before all this. */
export function checkProcesses(evidence: Evidence): Finding[] {
  const { before, after } = evidence.vitals;
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
    ...(evidence.processes > 1 ? [checkShares(evidence)] : []),
  ];
}

/** Where there are several, each has received photos: else nothing of what they promise together was looked at. */
function checkShares({ journal, processes }: Evidence): Finding {
  const indexOf = new Map(
    journal.flatMap((entry) => (entry.kind === 'process' && entry.name ? [[entry.name, entry.index] as const] : [])),
  );
  const began = new Map<string, string>();
  const received = Array<number>(processes).fill(0);
  let elsewhere = 0;
  for (const entry of journal) {
    if (entry.kind !== 'moved' || !entry.holder) continue;
    const { image, from, to, holder } = entry;
    if (from === null) began.set(image, holder);
    if (to !== 'received' || (from !== 'uploading' && from !== null)) continue;
    const index = indexOf.get(holder);
    if (index !== undefined) received[index] = (received[index] ?? 0) + 1;
    if (began.get(image) !== holder) elsewhere += 1;
  }
  return finding(
    'processes that received no photo',
    `${received.join(' and ')} photos; ${elsewhere} of them by another process than they began with`,
    received.flatMap((count, index) => (count > 0 ? [] : [`process ${index}`])),
  );
}

function mib(bytes: number | null): string {
  return bytes === null ? '?' : `${Math.round(bytes / 1024 / 1024)}`;
}
