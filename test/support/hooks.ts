import { setTimeout as delay } from 'node:timers/promises';

/** How long what the tests opened may take to end by itself after the last of them. */
const END_MS = 15_000;

/**
 * What may be open after a file: deadlines of tests that have ended, which run out by themselves, and the pipes to mocha
 * and to the database server of the tests.
 */
const HARMLESS = new Set(['Timeout', 'PipeWrap']);

/** With `--parallel` mocha gives the files to a few processes in turn, and ends these itself: then each file is checked. */
export const mochaHooks = {
  async afterAll() {
    if (process.env.MOCHA_WORKER_ID === undefined) return;
    const deadline = performance.now() + END_MS;
    const leaks = () => process.getActiveResourcesInfo().filter((resource) => !HARMLESS.has(resource));
    while (leaks().length > 0) {
      if (performance.now() > deadline) throw new Error(`still open after the tests: ${leaks().join(', ')}`);
      await delay(20);
    }
  },
};

/**
 * Runs after the last test. The process is left to end by itself: whatever keeps the process alive longer is a leak of
 * some test, is named here, and fails the run.
 */
export function mochaGlobalTeardown(): void {
  setTimeout(() => {
    process.stderr.write(`still open after the tests: ${process.getActiveResourcesInfo().join(', ')}\n`);
    // Mocha sets the exit code when the process ends, in a listener added before this one.
    process.once('exit', () => {
      process.exitCode = 1;
    });
    process.exit();
  }, END_MS).unref();
}
