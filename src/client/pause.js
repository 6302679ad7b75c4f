/**
 * Waits so long; rejects with the signal's reason when it is aborted.
 *
 * @param {number} milliseconds
 * @param {AbortSignal | undefined} signal
 * @returns {Promise<void>}
 */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', stop, { once: true });
  });
}

/**
 * Grows with each try up to 10 s, spread by a quarter so that clients do not come back together.
 *
 * @param {number} tries
 */
export function backoffMs(tries) {
  return Math.min(10_000, 500 * 2 ** tries) * (0.75 + Math.random() / 2);
}
