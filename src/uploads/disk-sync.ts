/** As long as the disk answers sooner, it is waited for on the spot: the way to Node's pool and back takes as long. */
const QUICK_MS = 1;

/** Makes what was written to a file durable; rejects with what the disk says. */
export type Sync = (file: number) => Promise<void>;

/**
 * Waits for a quick disk right here, on this thread; for one that takes its time elsewhere, many at once.
 *
 * @param here waits on this thread
 * @param elsewhere the same on Node's pool
 */
export function createSync(here: (file: number) => void, elsewhere: Sync): Sync {
  let usualMs = 0;
  return async (file) => {
    const begun = performance.now();
    if (usualMs < QUICK_MS) here(file);
    else await elsewhere(file);
    usualMs = 0.9 * usualMs + 0.1 * (performance.now() - begun);
  };
}
