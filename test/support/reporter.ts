import Mocha from 'mocha';

/**
 * Mocha's `spec` reporter, with a last line of its real counts: `N passed, N failed[, N skipped]`. The
 * line comes at the end of the process, below the message about a leak (hooks.ts).
 */
export default class ClosingLine extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.once('end', () => {
      const { passes = 0, failures = 0, pending = 0 } = runner.stats ?? {};
      const skipped = pending > 0 ? `, ${pending} skipped` : '';
      process.once('exit', () => process.stdout.write(`\n${passes} passed, ${failures} failed${skipped}\n`));
    });
  }
}
