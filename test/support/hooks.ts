/** How long the process may take to end by itself after the last test. */
const END_MS = 15_000;

/**
 * Runs after the last test. The process is left to end by itself: whatever keeps it alive longer is a leak of some test,
 * which this names, and which fails the run.
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
