import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { HoplaError } from '../model/errors.ts';
import type { Storage } from '../storage/port.ts';

/**
 * Keeps transfers from a storage that is away, or that asked for a pause: while it is closed nobody sends anything, and
 * images that wait use up no attempts. It opens again as soon as the storage answers a check.
 */
export type Breaker = {
  /** Resolves when transfers may be tried; rejects with the signal's reason. */
  pass(signal: AbortSignal): Promise<void>;
  /** Looks at a failed try. True when it was the storage that is away, and not this image that it does not take. */
  judge(error: HoplaError): Promise<boolean>;
  /** True while nothing may be sent. */
  readonly paused: boolean;
  close(): void;
};

/**
 * Between two checks of a storage that is away, in milliseconds: soon at first, and never so late that a backlog waits
 * long. Every 8 s is 450 an hour; Cloudinary's free plan allows its Admin API, where the check goes, 500.
 */
const FIRST_CHECK_MS = 250;
const LAST_CHECK_MS = 8_000;
const CHECK_TIMEOUT_MS = 5_000;
/** A storage may ask for a pause, but not for a day. */
const LONGEST_PAUSE_MS = 15 * 60_000;

/** @param accountPauseMs between two tries of a storage that does not accept our account: that needs a person */
export function createBreaker(storage: Storage, log: Logger, accountPauseMs = 15_000): Breaker {
  const closing = new AbortController();
  /** Set while it is closed: resolves when it opens. */
  let pause: Promise<void> | null = null;

  let checking: Promise<void> | null = null;
  /** Failures of many images at once are judged by one check. */
  const check = () => {
    checking ??= storage.check(AbortSignal.any([closing.signal, AbortSignal.timeout(CHECK_TIMEOUT_MS)])).finally(() => {
      checking = null;
    });
    return checking;
  };

  const announce = (error: HoplaError) => {
    if (isAccount(error))
      log.error({ err: error }, 'ALARM: the storage refuses our account; transfers wait for a person');
    else log.warn({ err: error, retryAfterMs: error.retryAfterMs }, 'the storage is away: transfers wait');
  };

  /** Waits as `first` says, then checks until the storage answers. */
  const waitForStorage = async (first: HoplaError) => {
    const waiting = performance.now();
    announce(first);
    let last = first;
    let waitMs = first.retryAfterMs ?? 0;
    for (let nextMs = FIRST_CHECK_MS; ; nextMs = Math.min(2 * nextMs, LAST_CHECK_MS)) {
      await delay(Math.min(waitMs, LONGEST_PAUSE_MS), undefined, { signal: closing.signal });
      const failure = await check().then(() => null, toHoplaError);
      if (!failure) break;
      if (failure.code !== last.code) announce(failure);
      last = failure;
      waitMs = Math.max(failure.retryAfterMs ?? 0, nextMs);
    }
    // The check passes where the upload did not, as it does for a key without that right: no reason to hurry.
    if (isAccount(first) && last === first) await delay(accountPauseMs, undefined, { signal: closing.signal });
    log.info({ ms: Math.round(performance.now() - waiting) }, 'the storage answers: transfers go on');
  };

  const open = (error: HoplaError) => {
    pause ??= waitForStorage(error)
      // Ends by abort alone, which `pass` sees on its own.
      .catch(() => {})
      .finally(() => {
        pause = null;
      });
  };

  return {
    get paused() {
      return pause !== null;
    },
    async pass(signal) {
      while (pause) await Promise.race([pause, rejectOnAbort(signal)]);
      signal.throwIfAborted();
    },
    async judge(error) {
      if (pause) return true;
      if (error.retryAfterMs !== undefined || isAccount(error)) {
        open(error);
        return true;
      }
      if (error.code !== 'storage-unavailable') return false;
      try {
        await check();
        return pause !== null;
      } catch {
        open(error);
        return true;
      }
    },
    close: () => closing.abort(),
  };
}

function isAccount({ code }: HoplaError): boolean {
  return code === 'storage-misconfigured';
}

function toHoplaError(cause: unknown): HoplaError {
  return cause instanceof HoplaError ? cause : new HoplaError('storage-unavailable', undefined, { cause });
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
