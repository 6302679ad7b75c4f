import { setTimeout as delay } from 'node:timers/promises';
import type { JobWithMetadata } from 'pg-boss';
import { queueOf, type TransferJob } from './queue.ts';
import { ClaimLost, handBack, type TransferDeps, transferImage } from './transfer.ts';

export type Workers = {
  /** Looks into the queue now. */
  wake(): void;
  /** Stops taking jobs, gives running transfers `graceMs`, and hands the rest back to the queue. */
  close(graceMs: number): Promise<void>;
};

/**
 * While NOTIFY works a worker is woken by it, and by the timer that `transferImage` asks for; polling is for what both
 * missed. Without NOTIFY it is all there is.
 */
const POLL_SECONDS = 0.5;
const POLL_WITH_NOTIFY_SECONDS = 10;
/** Before a transfer is repeated, or the attempt to hand it back, that our database kept from its end, in milliseconds. */
const REPEAT_MS = 1_000;
/** Timers may fire a little early, and the database must agree that it is time. */
const WAKE_MARGIN_MS = 10;

/** Starts `concurrency` workers on the queue of the staging area. */
export async function startWorkers(deps: TransferDeps, concurrency: number): Promise<Workers> {
  const { boss, staging, log } = deps;
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  const timers = new Set<NodeJS.Timeout>();
  const queue = queueOf(staging.id);
  const workerIds: string[] = [];

  /** pg-boss sleeps a whole poll interval after every job; being notified keeps it awake for the next one. */
  const wakeAfter = (workerId: string, delayMs: number) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      boss.notifyWorker(workerId);
    }, delayMs + WAKE_MARGIN_MS);
    timers.add(timer);
  };

  const handle = async (job: JobWithMetadata<TransferJob>, wake: (delayMs: number) => void) => {
    const about = { imageId: job.data.imageId };
    try {
      const end = await transferImage(deps, job, AbortSignal.any([job.signal, stopping.signal]));
      if (end.state === 'waiting' && end.delayMs > 0) wake(end.delayMs);
    } catch (error) {
      if (!stopping.signal.aborted && !job.signal.aborted && !(error instanceof ClaimLost))
        log.warn({ ...about, err: error }, 'a transfer could not be recorded; it will be repeated');
      // The repeat finds what this run achieved. As long as we wait for the database here the claim stays ours.
      await handBackSoon(job, stopping.signal.aborted ? 0 : REPEAT_MS, wake);
    }
  };

  const handBackSoon = async (job: JobWithMetadata<TransferJob>, delayMs: number, wake: (delayMs: number) => void) => {
    while (!job.signal.aborted) {
      try {
        await handBack(deps, job, delayMs);
        return wake(delayMs);
      } catch (error) {
        if (error instanceof ClaimLost) break;
        // pg-boss is told, and if it cannot tell the database either, the next start or a missed heartbeat will.
        if (stopping.signal.aborted) throw error;
        await delay(REPEAT_MS, undefined, { signal: stopping.signal }).catch(() => {});
      }
    }
    log.warn({ imageId: job.data.imageId }, 'another worker took over this transfer');
  };

  for (let count = 0; count < concurrency; count++) {
    const id = Promise.withResolvers<string>();
    const options = {
      batchSize: 1,
      includeMetadata: true as const,
      pollingIntervalSeconds: POLL_SECONDS,
      notifyPollingIntervalSeconds: POLL_WITH_NOTIFY_SECONDS,
    };
    const workerId = await boss.work<TransferJob>(queue, options, async (jobs) => {
      const [job] = jobs;
      if (!job) return;
      const own = await id.promise;
      const run = handle(job as JobWithMetadata<TransferJob>, (delayMs) => wakeAfter(own, delayMs)).finally(() =>
        running.delete(run),
      );
      running.add(run);
      await run;
      boss.notifyWorker(own);
    });
    workerIds.push(workerId);
    id.resolve(workerId);
  }

  return {
    wake() {
      for (const workerId of workerIds) boss.notifyWorker(workerId);
    },
    async close(graceMs) {
      const idle = boss.offWork(queue, { wait: true });
      const grace = setTimeout(() => stopping.abort(new Error('the process is stopping')), graceMs);
      // Waiting for a storage that is away is nothing to be waited for.
      if (deps.breaker.paused) stopping.abort(new Error('the process is stopping'));
      await Promise.allSettled([...running, idle]);
      clearTimeout(grace);
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
