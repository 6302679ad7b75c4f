/**
 * `npm run chaos`: photos are uploaded by real clients while everything that can fails, and then everything is compared
 * with what was promised. Ends with 1 when a promise was broken, and with 2 when the world could not be run.
 */
import { check } from './checker.ts';
import { type Options, readOptions } from './options.ts';
import { formatScore, makeScore } from './scoreboard.ts';
import { forgetWorld, runWorld } from './world.ts';

const stop = new AbortController();
process.once('SIGINT', () => stop.abort(new Error('interrupted')));
process.once('SIGTERM', () => stop.abort(new Error('terminated')));

async function main(options: Options): Promise<number> {
  // The table or the JSON is the result; what is told on the way goes beside it.
  const tell = (line: string) => void process.stderr.write(`${line}\n`);
  const { evidence, directory, skipped } = await runWorld(options, tell, stop.signal);
  const findings = check(evidence);
  const clean = findings.every(({ violations }) => violations.length === 0) && !options.keep;
  if (clean) await forgetWorld({ directory });
  const score = makeScore(
    options,
    findings,
    evidence.journal,
    skipped,
    clean ? null : `${directory}/journal.jsonl, and the logs beside it`,
  );
  process.stdout.write(options.json ? `${JSON.stringify(score, null, 2)}\n` : formatScore(score));
  return score.violations === 0 ? 0 : 1;
}

try {
  process.exit(await main(readOptions(process.argv.slice(2))));
} catch (error) {
  const cause: unknown = stop.signal.aborted ? stop.signal.reason : error;
  process.stderr.write(`${cause instanceof Error ? cause.message : String(cause)}\n`);
  process.exit(2);
}
