import { isDatabaseOutage } from '../database/outage.ts';

/** A batch holds its locks for milliseconds only; more than this at once gain nothing. */
const MOST_ITEMS = 32;

/** How long patient items wait for others, in milliseconds. */
const PATIENCE_MS = 100;
/** How long any others do, where many come: less than a commit takes. */
const MOMENT_MS = 1;

type Waiting<Item, Outcome> = { item: Item; patient: boolean; settled: PromiseWithResolvers<Outcome> };

/**
 * Group commit: what is asked for while one batch is being committed goes together into the next one, so that many pay
 * for one transaction and one wait for the disk. A lone item waits for nobody.
 *
 * @param run commits a batch in one transaction, all or nothing, and says for each item, in order, what became of it
 * @returns runs one item; rejects with what its batch threw. A batch that fails for any reason but an outage is run again
 *   item by item, so that nobody pays for another's mistake. Where many come, each waits a moment for others, and one that is
 *   `patient` for longer, so that fewer transactions have more of them: each costs as much by itself as several items.
 */
export function createGroupCommit<Item, Outcome>(
  run: (items: Item[]) => Promise<Outcome[]>,
): (item: Item, patient?: boolean) => Promise<Outcome> {
  let waiting: Waiting<Item, Outcome>[] = [];
  let busy = false;
  /** When several were last committed together. */
  let crowded = Number.NEGATIVE_INFINITY;
  /** Ends the waiting for others, if it is time to. */
  let hurry = () => {};

  const commit = async (batch: Waiting<Item, Outcome>[]): Promise<void> => {
    try {
      const outcomes = await run(batch.map(({ item }) => item));
      for (const [index, { settled }] of batch.entries()) settled.resolve(outcomes[index] as Outcome);
    } catch (error) {
      if (batch.length > 1 && !isDatabaseOutage(error)) for (const one of batch) await commit([one]);
      else for (const { settled } of batch) settled.reject(error);
    }
  };
  const gather = (ms: number, mayWait: () => boolean) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      hurry = () => {
        if (waiting.length < MOST_ITEMS && mayWait()) return;
        clearTimeout(timer);
        resolve();
      };
      hurry();
    });
  const work = async () => {
    while (waiting.length > 0) {
      if (performance.now() - crowded < PATIENCE_MS) {
        await gather(PATIENCE_MS, () => waiting.every(({ patient }) => patient));
        await gather(MOMENT_MS, () => true);
      }
      const batch = waiting.slice(0, MOST_ITEMS);
      waiting = waiting.slice(MOST_ITEMS);
      await commit(batch);
      if (batch.length > 1) crowded = performance.now();
    }
    busy = false;
  };
  return (item, patient = false) => {
    const settled = Promise.withResolvers<Outcome>();
    waiting.push({ item, patient, settled });
    hurry();
    // In a moment, so that what is asked for at once goes at once.
    if (!busy) {
      busy = true;
      queueMicrotask(work);
    }
    return settled.promise;
  };
}
