import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { plain, say } from '../../terminal/plain-text.ts';

/** Where a command reads and writes; `process` is one. */
export type Terminal = {
  readonly stdin: NodeJS.ReadableStream & { isTTY?: boolean };
  readonly stdout: NodeJS.WritableStream & { isTTY?: boolean; columns?: number };
  readonly stderr: NodeJS.WritableStream;
  exitCode?: number | string | null | undefined;
  exit(code: number): never;
};

/** A command that was not understood or may not run like this: nothing was done. Ends with exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** The person said no. Ends with exit code 1. */
export class Declined extends Error {
  override name = 'Declined';
}

/**
 * Asks before something that cannot be undone. Throws `Declined` for any answer but yes, and a `UsageError` where there
 * is nobody to ask. Questions go to stderr: stdout is for what a command finds.
 */
export async function confirm(terminal: Terminal, yes: boolean, question: string): Promise<void> {
  if (yes) return;
  if (!terminal.stdin.isTTY)
    throw new UsageError('This needs a yes, and nobody can be asked here; add --yes if you mean it.');
  const answer = await ask(terminal, `${plain(question)} [y/N] `);
  if (!/^\s*y(es)?\s*$/i.test(answer)) throw new Declined('Nothing was changed.');
}

/** A new password: from the option, from standard input up to its end, or typed twice without being shown. */
export async function readPassword(
  terminal: Terminal,
  options: { password?: string; passwordStdin?: boolean },
): Promise<string | undefined> {
  if (options.password !== undefined && options.passwordStdin)
    throw new UsageError('Give either --password or --password-stdin.');
  if (options.password !== undefined) return options.password;
  if (!options.passwordStdin) return undefined;
  let text = '';
  terminal.stdin.setEncoding('utf8');
  for await (const piece of terminal.stdin) text += piece;
  // What `echo` and files put at the end is not part of it.
  return text.replace(/\r?\n$/, '');
}

/** Asks for a new password twice, showing nothing. */
export async function askPassword(terminal: Terminal): Promise<string> {
  if (!terminal.stdin.isTTY) throw new UsageError('Give the password with --password-stdin (or --password).');
  const password = await ask(terminal, 'New password: ', 'hidden');
  if (password === '') throw new Declined('Nothing was changed.');
  if ((await ask(terminal, 'The same again: ', 'hidden')) === password) return password;
  throw new Declined('The two differ; nothing was changed.');
}

/** One line. Hidden, readline takes over the terminal's echo and shows it to nobody; else the terminal does as always. */
async function ask(terminal: Terminal, question: string, echo: 'shown' | 'hidden' = 'shown'): Promise<string> {
  say(terminal.stderr, question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: terminal.stdin, output: nowhere, terminal: echo === 'hidden' });
  // Ctrl-C and Ctrl-D are no answer.
  const closed = once(lines, 'close').then(() => '');
  try {
    return await Promise.race([once(lines, 'line').then(([line]) => String(line)), closed]);
  } finally {
    lines.close();
    if (echo === 'hidden') say(terminal.stderr, '\n');
  }
}
