import { performance } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

/** How often it is asked whether there is something to give back, and time for it, in milliseconds. */
const LOOK_MS = 1_000;
/** A thread that works for more than this part of the time has better things to do. */
const BUSY = 0.3;
/** What a heap may have beyond what it had when it was last collected; of a small one, so many bytes. */
const SPARE = 0.25;
const SPARE_BYTES = 4 * 1024 * 1024;

/**
 * Collects what is left over from starting, and from then on when much has gathered and this thread has time. V8 by itself
 * lets a heap grow to four times of what is in use before it looks, and keeps the pages: ten thousand listeners who come at
 * once would cost three times their memory for good.
 *
 * Takes 50 to 200 ms of the thread; does nothing without `--expose-gc` (see bin/hopla).
 */
export function collectInSpareTime(): void {
  const { gc } = globalThis;
  if (!gc) return;
  const sizeOf = () => getHeapStatistics().total_heap_size;
  const collect = () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  collect();
  let kept = sizeOf();
  let before = performance.eventLoopUtilization();
  setInterval(() => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    if (utilization > BUSY || sizeOf() < kept + Math.max(kept * SPARE, SPARE_BYTES)) return;
    collect();
    kept = sizeOf();
  }, LOOK_MS).unref();
}
