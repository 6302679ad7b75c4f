/**
 * Runs the whole suite: `npm test`. With arguments, the files named. Ends by itself, prints one line with mocha's real
 * counts, and fails when a test failed or none ran.
 */
import { globSync } from 'node:fs';
import Mocha from 'mocha';

const files = process.argv.length > 2 ? process.argv.slice(2) : globSync('test/**/*.test.ts').sort();
const mocha = new Mocha({
  timeout: 30_000,
  forbidOnly: true,
  reporter: 'spec',
  ...(process.env.GREP ? { grep: process.env.GREP } : {}),
});
for (const file of files) mocha.addFile(file);
await mocha.loadFilesAsync();

mocha.run().once('end', function (this: Mocha.Runner) {
  const { passes = 0, failures = 0, pending = 0 } = this.stats ?? {};
  // Left to end by itself: what keeps the process alive after its tests is a leak, and shows. Only a leak that would
  // hang the run for ever is cut off, and fails it.
  process.exitCode = failures > 0 || passes === 0 ? 1 : 0;
  const leak = setTimeout(() => {
    process.stderr.write(`still open after the tests: ${process.getActiveResourcesInfo().join(', ')}\n`);
    process.exit(1);
  }, 15_000);
  leak.unref();
  process.once('exit', () =>
    process.stdout.write(`\n${passes} passed, ${failures} failed${pending > 0 ? `, ${pending} skipped` : ''}\n`),
  );
});
