import pino, { type DestinationStream, type Logger } from 'pino';
import { plainLines } from '../terminal/plain-text.ts';

/** Nothing that opens a door reaches a log, wherever it hides. */
const SECRETS = new Set(['token', 'uploadtoken', 'password', 'authorization']);
const MAY_HAVE_SECRETS = new RegExp(`"(?:${[...SECRETS].join('|')})":`, 'i');

/** JSON lines on stdout; for people at a terminal the same, made readable, where pino-pretty is installed. */
export async function createLog(level: string): Promise<Logger> {
  const options = {
    ...{ level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    hooks: { streamWrite: withoutSecrets },
  };
  if (!process.stdout.isTTY) return pino(options, openStdout());
  const pretty = await import('pino-pretty').catch(() => null);
  if (!pretty) return pino(options, openStdout());
  return pino(
    { ...options, hooks: { streamWrite: forTerminal } },
    pretty.default({
      // Also says no for NO_COLOR and for terminals that have none.
      colorize: process.stdout.hasColors(),
      translateTime: 'SYS:HH:MM:ss',
      ignore: 'requestId',
      singleLine: true,
      sync: true,
    }),
  );
}

/** A line as it may be written. By its text, as nearly all have nothing to hide, and looking at each of their values costs more. */
export function withoutSecrets(line: string): string {
  if (!MAY_HAVE_SECRETS.test(line)) return line;
  const hidden = (key: string, value: unknown) => (SECRETS.has(key.toLowerCase()) ? '[Redacted]' : value);
  return `${JSON.stringify(JSON.parse(line, hidden))}\n`;
}

/** What pino-pretty makes text of and prints as it is: what a terminal would obey is taken out before. */
export function forTerminal(line: string): string {
  const harmless = (_key: string, value: unknown) => (typeof value === 'string' ? plainLines(value) : value);
  return withoutSecrets(`${JSON.stringify(JSON.parse(line, harmless))}\n`);
}

/** So many characters are written at once, should one turn have them. */
const MOST_CHARS = 8 * 1024;

/**
 * Writes the lines of one turn of the event loop together, at its end: busy uploads write several, and each write wakes the
 * reader. They wait for nothing else, so that the log of a process that was killed ends where the process did.
 *
 * Gathered here: what pino's destination has gathered it measures anew with each line.
 */
function openStdout(): DestinationStream {
  const stdout = pino.destination({ fd: process.stdout.fd, sync: true });
  let lines = '';
  let waiting = false;
  const flush = () => {
    if (lines === '') return;
    const gathered = lines;
    lines = '';
    stdout.write(gathered);
  };
  process.on('exit', () => {
    flush();
    stdout.flushSync();
  });
  return {
    write(line) {
      lines += line;
      if (lines.length >= MOST_CHARS) return flush();
      if (!waiting)
        setImmediate(() => {
          waiting = false;
          flush();
        });
      waiting = true;
    },
  };
}
