import { setTimeout as delay } from 'node:timers/promises';
import { HoplaError } from '../model/errors.ts';

/** Runs tasks, few at once for one key. Throws 429 `too-many-requests` with `Retry-After` for those that find no room to wait. */
export type ConcurrencyLimit = <T>(key: string, task: () => Promise<T>) => Promise<T>;

export type ConcurrencyLimitOptions = { atOnce: number; waiting: number };

type Lane = { running: number; waiting: (() => void)[]; refusing: number };

/**
 * While others of a key wait, each place rests after a task for a multiple of the time that the task took: a client that
 * asks again and again gets a bounded share of this process, and the less the busier it is.
 */
const REST_FACTOR = 4;
const MAX_REST_MS = 250;
/** An answer of 429 costs little, but not nothing: a client that repeats at once gets it late. */
const REFUSAL_MS = 1_000;
/** Beyond so many of one key a refusal is told at once, as each that waits keeps its request in memory. */
const MAX_REFUSING = 256;

export function createConcurrencyLimit({ atOnce, waiting }: ConcurrencyLimitOptions): ConcurrencyLimit {
  const lanes = new Map<string, Lane>();

  const laneOf = (key: string): Lane => {
    const lane = lanes.get(key) ?? { running: 0, waiting: [], refusing: 0 };
    lanes.set(key, lane);
    return lane;
  };
  const tidy = (key: string, lane: Lane) => {
    if (lane.running === 0 && lane.refusing === 0) lanes.delete(key);
  };
  const refuse = async (key: string, lane: Lane): Promise<never> => {
    if (lane.refusing < MAX_REFUSING) {
      lane.refusing += 1;
      await delay(REFUSAL_MS);
      lane.refusing -= 1;
      tidy(key, lane);
    }
    throw new HoplaError('too-many-requests', 'Too many requests of this token are being answered.', {
      retryAfterMs: REFUSAL_MS,
    });
  };
  const leave = (key: string, lane: Lane) => {
    const next = lane.waiting.shift();
    if (next) return next();
    lane.running -= 1;
    tidy(key, lane);
  };

  return async (key, task) => {
    const lane = laneOf(key);
    if (lane.running < atOnce) lane.running += 1;
    else if (lane.waiting.length < waiting) await new Promise<void>((resolve) => lane.waiting.push(resolve));
    else await refuse(key, lane);
    const started = performance.now();
    try {
      return await task();
    } finally {
      const restMs = Math.min(MAX_REST_MS, REST_FACTOR * (performance.now() - started));
      if (lane.waiting.length > 0) setTimeout(leave, restMs, key, lane);
      else leave(key, lane);
    }
  };
}
