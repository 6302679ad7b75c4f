import pino, { type Logger } from 'pino';

/** Nothing that opens a door reaches a log, wherever it hides. */
const SECRETS = [
  'token',
  'uploadToken',
  'password',
  'authorization',
  '*.token',
  '*.uploadToken',
  '*.password',
  '*.authorization',
  'headers.authorization',
  'req.headers.authorization',
];

/** JSON lines on stdout; for people at a terminal the same, made readable, where pino-pretty is installed. */
export async function createLog(level: string): Promise<Logger> {
  const options = { level, redact: SECRETS, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  if (!process.stdout.isTTY) return pino(options);
  const pretty = await import('pino-pretty').catch(() => null);
  if (!pretty) return pino(options);
  return pino(
    options,
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
