import type { Command } from 'commander';
import { DBError } from 'objection';
import type { Logger } from 'pino';
import { connectDatabase, type Database } from '../../database/connection.ts';
import { isDatabaseOutage } from '../../database/outage.ts';
import { HoplaError } from '../../model/errors.ts';
import type { Storage } from '../../storage/port.ts';
import { plain, plainJson, say } from '../../terminal/plain-text.ts';
import { type Actor, commandLineActor } from '../operations/audit.ts';
import { confirm, Declined, type Terminal, UsageError } from './question.ts';

/** Where the commands find what they work on. Nothing is opened before it is asked for. */
export type AdminContext = {
  /** Also where the database has to be started first. */
  databaseUrl(): Promise<string>;
  stagingDirectory: string;
  /** The storage that images are in. The caller closes it. */
  storage(): Promise<Storage>;
  /** Where clients reach the gateway, without a slash at the end; empty when that is not known. */
  publicUrl: string;
  log: Logger;
  /** Ends what was started for the others. */
  close(): Promise<void>;
};

/** What a command did: for scripts, and for people, in so many columns (null: as wide as it gets). */
export type Result = { json: unknown; text: (columns: number | null) => string; exitCode?: number };

/** What a command works with. */
export type Work = {
  context: AdminContext;
  db: Database;
  /** Who the audit log says it was. */
  by: Actor;
  terminal: Terminal;
  /** See `confirm` in question.ts; --yes is taken from the command's options. */
  confirm(question: string): Promise<void>;
  /** Tells a person what is going on, beside the result. */
  notice(line: string): void;
  /** Closes something when the command is through, before everything opened earlier. */
  defer(release: () => unknown): void;
};

export type CommonOptions = { json?: boolean; yes?: boolean };

export type Run = (options: CommonOptions, work: (work: Work) => Promise<Result>) => Promise<void>;

/** 0: done. 1: could not be done, or the person said no. 2: not understood, or needs --yes; nothing was done. */
const FAILED = 1;
const USAGE = 2;

/** Prepares `run`, in which every command opens what it needs, prints its result or its error, and closes everything. */
export function createRun(open: () => AdminContext | Promise<AdminContext>, terminal: Terminal): Run {
  return async (options, work) => {
    let debugging = false;
    try {
      await using opened = new AsyncDisposableStack();
      const context = await open();
      opened.defer(() => context.close());
      debugging = context.log.isLevelEnabled('debug');
      const db = connectDatabase(await context.databaseUrl(), { maxConnections: 4, applicationName: 'hopla admin' });
      opened.defer(() => db.destroy());
      const result = await work({
        context,
        db,
        by: commandLineActor(),
        terminal,
        confirm: (question) => confirm(terminal, options.yes === true, question),
        notice: (line) => say(terminal.stderr, `${plain(line)}\n`),
        defer: (release) =>
          opened.defer(async () => {
            await release();
          }),
      });
      // A terminal that does not know its width says 0.
      const columns = terminal.stdout.isTTY ? terminal.stdout.columns || null : null;
      say(terminal.stdout, `${options.json ? plainJson(result.json) : result.text(columns)}\n`);
      if (result.exitCode) terminal.exitCode = result.exitCode;
    } catch (error) {
      say(terminal.stderr, `${debugging && error instanceof Error ? error.stack : describe(error)}\n`);
      terminal.exitCode = error instanceof UsageError ? USAGE : FAILED;
    }
  };
}

/** Makes a command and those below it speak to the terminal, and end with exit code 2 where they were not understood. */
export function speakTo(terminal: Terminal, command: Command): Command {
  return command
    .configureOutput({
      writeOut: (text) => say(terminal.stdout, text),
      writeErr: (text) => say(terminal.stderr, text),
      getOutHelpWidth: () => terminal.stdout.columns || 100,
      getErrHelpWidth: () => terminal.stdout.columns || 100,
    })
    .exitOverride(({ exitCode }) => terminal.exit(exitCode === 0 ? 0 : USAGE));
}

/** What undefined_table and invalid_schema_name mean here, https://www.postgresql.org/docs/current/errcodes-appendix.html */
const NO_TABLES = ['42P01', '3F000'];

/** One line: a code, and what to do. */
function describe(error: unknown): string {
  if (error instanceof Declined) return error.message;
  if (error instanceof UsageError) return `error: ${plain(error.message)}`;
  if (error instanceof HoplaError) return `error: ${error.code}: ${plain(error.message)}`;
  // Objection hides what Postgres said behind an error of its own.
  const native = error instanceof DBError ? error.nativeError : error;
  const code = native instanceof Error && 'code' in native ? String(native.code) : '';
  if (NO_TABLES.includes(code))
    return 'error: database-not-ready: The database lacks tables; run `hopla migrate`, or start the gateway once.';
  if (isDatabaseOutage(native))
    return `error: service-unavailable: The database cannot be reached${code && ` (${code})`}; look at DATABASE_URL.`;
  return `error: ${native instanceof Error ? native.message : String(native)}`;
}
