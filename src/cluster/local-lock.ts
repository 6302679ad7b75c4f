import { setTimeout as delay } from 'node:timers/promises';
import type { Lock, Locker, RequestRelease } from '@tus/server';
import { HoplaError } from '../model/errors.ts';

/** Between two looks whether the last lock is free, when a process ends. */
const FREE_MS = 10;

type Waiter = { cancel: RequestRelease; grant: () => void };
type Queue = { holder: Waiter; waiting: Waiter[] };

/** A locker of this process alone. */
export type LocalLocker = Locker & {
  /** Resolves when no upload is locked, or after `timeoutMs`. */
  whenFree(timeoutMs: number): Promise<void>;
};

/**
 * One request at a time per upload, within this process. Who waits costs nothing: the one before wakes it. Whoever
 * holds an upload that another request wants is asked to let go.
 *
 * @param timeoutMs how long a request waits before it is told 423 `upload-locked`
 */
export function createLocker(timeoutMs: number): LocalLocker {
  const queues = new Map<string, Queue>();
  return {
    newLock: (id) => createLock(queues, id, timeoutMs),
    async whenFree(withinMs) {
      for (const deadline = performance.now() + withinMs; queues.size > 0 && performance.now() < deadline; )
        await delay(FREE_MS);
    },
  };
}

function createLock(queues: Map<string, Queue>, id: string, timeoutMs: number): Lock {
  return {
    async lock(signal, cancel) {
      const queue = queues.get(id);
      if (!queue) {
        queues.set(id, { holder: { cancel, grant: () => {} }, waiting: [] });
        return;
      }
      await waitInLine(queue, cancel, signal, timeoutMs);
    },
    async unlock() {
      const queue = queues.get(id);
      const next = queue?.waiting.shift();
      if (!queue || !next) {
        queues.delete(id);
        return;
      }
      queue.holder = next;
      next.grant();
      if (queue.waiting.length > 0) await next.cancel();
    },
  };
}

function waitInLine(queue: Queue, cancel: RequestRelease, signal: AbortSignal, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      settle();
      queue.waiting = queue.waiting.filter((other) => other !== waiter);
      reject(new HoplaError('upload-locked', undefined, { retryAfterMs: 1000 }));
    };
    const timer = setTimeout(leave, timeoutMs);
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    };
    const waiter: Waiter = {
      cancel,
      grant: () => {
        settle();
        resolve();
      },
    };
    if (signal.aborted) return leave();
    signal.addEventListener('abort', leave);
    queue.waiting.push(waiter);
    // Answers may be asynchronous; the queue moves on when the holder unlocks, not when it says it will.
    void queue.holder.cancel();
  });
}
