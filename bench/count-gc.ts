/**
 * Loaded before a program (`node --import`), counts full garbage collections of each of its threads: one line in the file
 * that GC_LOG names for every mark-compact.
 */
import { appendFileSync } from 'node:fs';
import { constants, PerformanceObserver } from 'node:perf_hooks';

const { GC_LOG } = process.env;
const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { kind } = (entry as unknown as { detail: { kind: number } }).detail;
    if (GC_LOG && kind === constants.NODE_PERFORMANCE_GC_MAJOR) appendFileSync(GC_LOG, `${entry.duration}\n`);
  }
});
observer.observe({ entryTypes: ['gc'] });
