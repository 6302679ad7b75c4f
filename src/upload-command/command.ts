import { Command, InvalidArgumentError } from 'commander';
import { ProblemError } from 'hopla/client';
import { UsageError } from '../admin/cli/question.ts';
import { speakTo } from '../admin/cli/run.ts';
import { plain, plainJson, say } from '../terminal/plain-text.ts';
import { findDestination } from './destination.ts';
import { barDisplay, plainDisplay } from './display.ts';
import type { Outcome } from './journey.ts';
import { findPhotos } from './photos.ts';
import { uploadFiles } from './upload.ts';

/** What the command takes from the environment. */
export type UploadSettings = {
  url: string | undefined;
  token: string | undefined;
  /** Where `npm start` says how it is reached. */
  sandboxFile: string;
  /** Where unfinished runs are noted down. */
  stateDirectory: string;
};

type Options = { url?: string; token?: string; description?: string; json?: boolean; concurrency: number };

/** 0: all delivered. 1: not all of them. 2: not understood; nothing was done. 128 + signal: interrupted. */
const FAILED = 1;
const USAGE = 2;
const signals = { SIGINT: 130, SIGTERM: 143 } as const;

/** `hopla upload FILES…`. */
export function uploadCommand(settings: () => UploadSettings): Command {
  return speakTo(process, new Command('upload'))
    .description('upload photos and wait until they are delivered')
    .argument('<files...>', 'photos; up to 1000')
    .option('--url <url>', 'where hopla runs (HOPLA_URL; else the sandbox that npm start runs here)')
    .option('--token <token>', 'a user token (HOPLA_TOKEN; else that of the sandbox)')
    .option('--description <text>', 'of the ticket that is opened')
    .option('--concurrency <number>', 'photos sent at once', parseConcurrency, 3)
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      `
Prints the addresses of the stored photos, one a line; what goes on meanwhile is told on standard error.
Interrupted? Run it again with the same files: it goes on with the same ticket, and sends no byte twice.

Exit codes: 0 all delivered, 1 not all of them, 2 not understood, 130 interrupted.`,
    )
    .action((files: string[], options: Options) => upload(files, options, settings()));
}

async function upload(files: string[], options: Options, settings: UploadSettings): Promise<void> {
  const interrupted = new AbortController();
  let exitCode = 0;
  const stop = (signal: keyof typeof signals) => {
    exitCode = signals[signal];
    // A second one ends the process at once.
    if (interrupted.signal.aborted) process.exit(exitCode);
    interrupted.abort();
  };
  // Not `once`: tus-js-client brings signal-exit, which ends the process where it finds no listener beside its own.
  for (const signal of Object.keys(signals)) process.on(signal, stop);
  try {
    const known = { url: options.url ?? settings.url, token: options.token ?? settings.token };
    const destination = await findDestination(known, settings.sandboxFile);
    const photos = await findPhotos(files);
    const bars = process.stdout.isTTY && process.stderr.isTTY && !options.json;
    const { ticketId, outcomes } = await uploadFiles({
      destination,
      photos,
      description: options.description ?? null,
      concurrency: options.concurrency,
      stateDirectory: settings.stateDirectory,
      display: bars ? barDisplay(process.stderr) : plainDisplay(process.stderr),
      signal: interrupted.signal,
    });
    say(process.stdout, options.json ? `${plainJson(toJson(ticketId, outcomes))}\n` : toLines(outcomes));
    if (outcomes.some(({ status }) => status !== 'stored')) exitCode = FAILED;
  } catch (error) {
    say(process.stderr, `${exitCode === 0 ? describe(error) : 'interrupted: run it again to go on'}\n`);
    exitCode ||= error instanceof UsageError ? USAGE : FAILED;
  } finally {
    for (const signal of Object.keys(signals)) process.off(signal, stop);
  }
  process.exitCode = exitCode;
}

function toJson(ticketId: string, outcomes: Outcome[]): unknown {
  const images = outcomes.map(({ photo, status, url, error }) => ({ file: photo.path, status, url, error }));
  return { ticketId, images };
}

function toLines(outcomes: Outcome[]): string {
  return outcomes.map(({ url }) => (url === null ? '' : `${plain(url)}\n`)).join('');
}

function describe(error: unknown): string {
  if (error instanceof UsageError)
    return error.message
      .split('\n')
      .map((line) => `error: ${plain(line)}`)
      .join('\n');
  if (error instanceof ProblemError) return plain(`error: ${error.code}: ${error.message}`);
  return plain(`error: ${error instanceof Error ? error.message : error}`);
}

function parseConcurrency(text: string): number {
  if (!/^([1-9]|1\d|20)$/.test(text)) throw new InvalidArgumentError('It is a whole number from 1 to 20.');
  return Number(text);
}
