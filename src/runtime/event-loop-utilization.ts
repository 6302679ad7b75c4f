import { performance } from 'node:perf_hooks';

/**
 * Calls `look` every so many milliseconds with the part of the time since then that this thread worked, 0 to 1. Keeps no
 * process alive.
 */
export function watchUtilization(lookMs: number, look: (utilization: number) => void): void {
  let before = performance.eventLoopUtilization();
  setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    look(utilization);
  }, lookMs).unref();
}
