import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { HoplaError } from '../errors.ts';

/** Counts events per key in one process. */
export type RateLimit = {
  /** Takes one; throws 429 `too-many-requests` with `Retry-After` when none is left. */
  take(key: string): Promise<void>;
  /** Gives one back. */
  giveBack(key: string): Promise<void>;
};

export function createRateLimit(perMinute: number, what: string): RateLimit {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: 60 });
  return {
    async take(key) {
      try {
        await limiter.consume(key);
      } catch (rejected) {
        if (!(rejected instanceof RateLimiterRes)) throw rejected;
        throw new HoplaError('too-many-requests', `Too many ${what}: at most ${perMinute} a minute.`, {
          retryAfterMs: rejected.msBeforeNext,
        });
      }
    },
    async giveBack(key) {
      await limiter.reward(key);
    },
  };
}
