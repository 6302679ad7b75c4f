import { setFlagsFromString } from 'node:v8';
import { watchUtilization } from './event-loop-utilization.ts';

/** How often it is asked whether this process is busy, in milliseconds. */
const LOOK_MS = 500;
/** A thread that works for more than this part of the time is busy. */
const BUSY = 0.5;
/** So many looks in a row find it so before it is taken to stay so: hundreds of clients who come at once are one or two. */
const BUSY_LOOKS = 2;

/**
 * Lets the room for young objects grow while this thread is busy, and only then. The more room there is, the fewer of them
 * still live when it is full, and those have to be copied: of many small images a second that is up to a fifth of all the CPU.
 * By itself V8 lets it grow whenever many live on, and so for hundreds of slow uploads at once, which live long, take no
 * CPU, and would cost twice the memory for it. What it has grown to is given back in a calm (spare-memory.ts).
 *
 * For the main thread: V8's flag, which it looks at whenever there might be a reason to grow, is one for all threads.
 */
export function growWhileBusy(): void {
  const mayGrow = (grow: boolean) => setFlagsFromString(`--semi-space-growth-factor=${grow ? 2 : 1}`);
  mayGrow(false);
  let busy = 0;
  watchUtilization(LOOK_MS, (utilization) => {
    busy = utilization > BUSY ? busy + 1 : 0;
    mayGrow(busy >= BUSY_LOOKS);
  });
}
