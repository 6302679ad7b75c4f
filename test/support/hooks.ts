import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** How long open sockets, servers and processes may live after the last test. */
const END_MS = 15_000;

/**
 * Resources that may be open after a file: deadlines of ended tests, and the pipes to mocha and to the database server of
 * the tests.
 */
const HARMLESS = new Set(['Timeout', 'PipeWrap']);

setFlagsFromString('--expose-gc');
/** A test may leave the body of an answer unread. The collector ends the connection of such an answer of `fetch`. */
const collectGarbage = runInNewContext('gc') as () => void;

/** With `--parallel` mocha kills the processes that ran the files, so leaks are looked for after each file. */
export const mochaHooks = {
  async afterAll() {
    if (process.env.MOCHA_WORKER_ID === undefined) return;
    const deadline = performance.now() + END_MS;
    const leaks = () => process.getActiveResourcesInfo().filter((resource) => !HARMLESS.has(resource));
    while (leaks().length > 0) {
      collectGarbage();
      if (performance.now() > deadline) throw new Error(`still open after the tests: ${leaks().join(', ')}`);
      await delay(20);
    }
  },
};

/**
 * Runs after the last test. The process has to end without help: a resource that keeps the process alive is a leak of a
 * test, is named here, and fails the run.
 */
export function mochaGlobalTeardown(): void {
  setTimeout(() => {
    process.stderr.write(`still open after the tests: ${process.getActiveResourcesInfo().join(', ')}\n`);
    // Mocha sets the exit code in an earlier listener of the same event.
    process.once('exit', () => {
      process.exitCode = 1;
    });
    process.exit();
  }, END_MS).unref();
}
