import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { HoplaError } from '../model/errors.ts';

/** Counts events per key in one process. */
export type RateLimit = {
  /** Takes one; throws 429 `too-many-requests` with `Retry-After` when none is left. */
  take(key: string): Promise<void>;
  /** Gives one back. */
  giveBack(key: string): Promise<void>;
  /**
   * Takes one for what `task` makes, and gives it back when that is nothing: a refusal is free. As many refusals as the limit
   * are; those beyond it count like the rest, so that a client that is refused all the time is bounded as well.
   */
  charge<T>(key: string, task: () => Promise<T>): Promise<T>;
};

export function createRateLimit(perMinute: number, what: string): RateLimit {
  const limiter = new RateLimiterMemory({ points: perMinute, duration: 60 });
  const refusals = new RateLimiterMemory({ points: perMinute, duration: 60 });
  const take = async (key: string) => {
    try {
      await limiter.consume(key);
    } catch (rejected) {
      if (!(rejected instanceof RateLimiterRes)) throw rejected;
      throw new HoplaError('too-many-requests', `Too many ${what}: at most ${perMinute} a minute.`, {
        retryAfterMs: rejected.msBeforeNext,
      });
    }
  };
  const giveBack = async (key: string) => {
    await limiter.reward(key);
  };
  return {
    take,
    giveBack,
    async charge(key, task) {
      await take(key);
      try {
        return await task();
      } catch (error) {
        const free = await refusals.consume(key).then(
          () => true,
          () => false,
        );
        if (free) await giveBack(key);
        throw error;
      }
    },
  };
}
