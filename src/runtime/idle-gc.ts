import { getHeapStatistics } from 'node:v8';
import { watchUtilization } from './event-loop-utilization.ts';

/** How often it is asked whether there is something to give back, and time for it, in milliseconds. */
const LOOK_MS = 1_000;
/** A thread that works for more than this part of the time has better things to do. */
const BUSY = 0.3;
/** So many looks in a row find a thread that is not busy before it is taken to stay so: clients come in waves. */
const CALM_LOOKS = 60;
/** How long a calm is, in milliseconds. */
export const CALM_MS = CALM_LOOKS * LOOK_MS;
/** So many are enough when it makes more objects at each: what it runs for them is not dropped then. */
const MILD_LOOKS = 3;
/** What a heap may have beyond what it had when it was last collected; of a small one, so many bytes. */
const SPARE = 0.25;
const SPARE_BYTES = 4 * 1024 * 1024;

/**
 * Collects what is left over from starting, and from then on when much has gathered and this thread has time. V8 by itself
 * lets a heap grow to four times of what is in use before it looks, and keeps the pages: ten thousand listeners who come at
 * once would cost three times their memory for good.
 *
 * Pages go back in the collection that V8 calls the last resort. It drops all hidden classes that no object has just now, and
 * with them the code compiled for them: of a gateway that waits for its next image that is nearly all, and the first thousand
 * would cost half as much again. So a pause does not count as spare time; a calm does.
 *
 * Takes 50 to 200 ms of the thread; does nothing without `--expose-gc` (see bin/hopla).
 */
export function collectInSpareTime(lookMs = LOOK_MS): void {
  const { gc } = globalThis;
  if (!gc) return;
  const sizeOf = () => getHeapStatistics().total_heap_size;
  const collect = () => gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
  collect();
  let kept = sizeOf();
  /** V8 may have freed some of it since, for its own use. */
  let most = kept;
  let last = kept;
  let calm = 0;
  let mild = 0;
  watchUtilization(lookMs, (utilization) => {
    const size = sizeOf();
    calm = utilization > BUSY ? 0 : calm + 1;
    mild = utilization > BUSY || size <= last ? 0 : mild + 1;
    last = size;
    most = Math.max(most, size);
    const mayTakeTime = calm >= CALM_LOOKS || mild >= MILD_LOOKS;
    if (!mayTakeTime || most < kept + Math.max(kept * SPARE, SPARE_BYTES)) return;
    collect();
    kept = most = last = sizeOf();
    calm = mild = 0;
  });
}
