/** The queue has no room for a task, or gave the place of the task to a key that had fewer. */
export class QueueFull extends Error {
  override name = 'QueueFull';
}

export type FairQueue = {
  /**
   * Runs a task once it is its turn. Rejects with `QueueFull` where there is no room to wait, and with the reason of the
   * signal if it aborts before the task has begun.
   */
  run<T>(key: string, signal: AbortSignal, task: () => Promise<T>): Promise<T>;
};

type Waiter = { start(): void; refuse(reason: unknown): void };

/**
 * Runs at most `width` tasks at once, while at most `length` others wait. Each key has a line of its own, and the lines
 * take turns: a key with a hundred tasks delays another key's only task by one task and not by a hundred. In a full
 * queue the newcomer takes the last place of the longest line, if that is longer than its own.
 */
export function createFairQueue({ width, length }: { width: number; length: number }): FairQueue {
  // The order of the entries is the order of the turns. An empty line has no entry.
  const lines = new Map<string, Waiter[]>();
  let free = width;
  let waiting = 0;

  const makeRoom = (key: string) => {
    if (waiting < length) return;
    const longest = [...lines.values()].reduce((most, line) => (line.length > most.length ? line : most), []);
    if (longest.length <= (lines.get(key)?.length ?? 0) + 1) throw new QueueFull();
    waiting -= 1;
    longest.pop()?.refuse(new QueueFull());
  };

  const leave = (key: string, waiter: Waiter) => {
    const line = lines.get(key) ?? [];
    const index = line.indexOf(waiter);
    if (index === -1) return;
    line.splice(index, 1);
    waiting -= 1;
    if (line.length === 0) lines.delete(key);
  };

  const wait = (key: string, signal: AbortSignal) => {
    makeRoom(key);
    return new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        leave(key, waiter);
        reject(signal.reason);
      };
      const settled = () => signal.removeEventListener('abort', onAbort);
      const waiter: Waiter = {
        start() {
          settled();
          resolve();
        },
        refuse(reason) {
          settled();
          reject(reason);
        },
      };
      signal.addEventListener('abort', onAbort);
      const line = lines.get(key);
      if (line) line.push(waiter);
      else lines.set(key, [waiter]);
      waiting += 1;
    });
  };

  const startNext = () => {
    const [first] = lines;
    if (!first) {
      free += 1;
      return;
    }
    const [key, line] = first;
    // The end of the map is the end of the round.
    lines.delete(key);
    const next = line.shift();
    if (line.length > 0) lines.set(key, line);
    waiting -= 1;
    next?.start();
  };

  return {
    async run(key, signal, task) {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else await wait(key, signal);
      try {
        return await task();
      } finally {
        startNext();
      }
    },
  };
}
