/** Runs `task` after each call, at most one at a time: calls that come while one runs share the next. */
export function shareRuns(task: () => Promise<void>): () => Promise<void> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<void> | null = null;
  return () => {
    next ??= running.then(() => {
      next = null;
      const run = task();
      running = run.catch(() => {});
      return run;
    });
    return next;
  };
}
