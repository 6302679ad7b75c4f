#!/usr/bin/env node
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as endOfTurn } from 'node:timers/promises';
import { Command } from 'commander';
import type { Logger } from 'pino';
import { adminCommand } from './admin/cli/commands.ts';
import { ConfigError, describeConfig, readConfig } from './config.ts';
import { connectDatabase, migrate, rollback } from './database/connection.ts';
import { isDatabaseOutage, isDatabaseRefusal } from './database/outage.ts';
import { banner } from './demo/banner.ts';
import { welcome } from './demo/demo-user.ts';
import { refusePublicSandbox, startSandbox } from './demo/stand-ins.ts';
import type { GatewayConfig } from './gateway.ts';
import { createLog } from './observability/log.ts';
import { readFailpoints } from './runtime/failpoints.ts';
import { growWhileBusy } from './runtime/heap-growth.ts';
import { collectInSpareTime } from './runtime/idle-gc.ts';
import { plain, plainJson, say } from './terminal/plain-text.ts';
import { uploadCommand } from './upload-command/command.ts';

/** How this program is called by a person: a package is installed below `node_modules`, a checkout is not. */
const PROGRAM = import.meta.filename.includes('/node_modules/') ? 'npx hopla' : 'bin/hopla';

/** Beyond this, what still runs is left to the next start, which picks it up. */
const STOP_MS = 10_000;

/** Runs the gateway until SIGTERM or SIGINT; a second signal ends the process at once. */
async function serve(): Promise<void> {
  const config = readConfig(process.env);
  // Not at the top: the Cloudinary SDK reads CLOUDINARY_URL when it is loaded, and throws before we can say what is wrong.
  const { startGateway } = await import('./gateway.ts');
  const log = await createLog(config.LOG_LEVEL);
  await using running = new AsyncDisposableStack();
  const asked = stopSignal(log);
  // A demo user has no place in a database that somebody set up.
  const local = config.DATABASE_URL === undefined;
  refusePublicSandbox(config, log);
  if (!local && config.STORAGE_URL === undefined)
    log.warn({ folder: config.DATA_DIR }, 'images stay on this machine: set CLOUDINARY_URL to store them elsewhere');
  const sandbox = await startSandbox(config, log);
  running.defer(() => sandbox.close());
  const settled: GatewayConfig = {
    ...config,
    DATABASE_URL: sandbox.databaseUrl,
    STORAGE_URL: sandbox.cloudinaryUrl,
  };
  let greeting = '';
  const announce = async (url: string) => {
    if (!local) return;
    const { DATA_DIR, PUBLIC_URL = url } = config;
    greeting = banner(await welcome(DATA_DIR, sandbox, PUBLIC_URL), DATA_DIR, PROGRAM);
  };
  const gateway = await startGateway(settled, log, readFailpoints(process.env.HOPLA_FAILPOINTS), announce);
  running.defer(() => gateway.close());
  collectInSpareTime();
  growWhileBusy();
  // The log writes its lines at the end of a turn, and the greeting is to be the last that a newcomer sees.
  await endOfTurn();
  say(process.stdout, greeting);

  log.info({ signal: await asked }, 'stopping: running uploads and transfers may end');
  setTimeout(() => {
    log.warn('stopped before everything had ended; the next start picks it up');
    process.exit(1);
  }, STOP_MS).unref();
  await running.disposeAsync();
  log.info('stopped');
}

function stopSignal(log: Logger): Promise<string> {
  return new Promise((resolve) => {
    let signals = 0;
    const stop = (signal: string) => {
      signals += 1;
      if (signals > 1) {
        log.warn({ signal }, 'stopped at once');
        process.exit(1);
      }
      resolve(signal);
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
  });
}

async function migrateDatabase({ down, yes }: { down?: boolean; yes?: boolean }): Promise<void> {
  if (down && !yes)
    throw new Error(
      'Taking a migration back deletes the tables it made, with what is in them. Repeat with --yes if that is meant.',
    );
  const config = readConfig(process.env);
  const { openAdminEnvironment } = await import('./admin/environment.ts');
  const environment = openAdminEnvironment(config);
  const db = connectDatabase(await environment.databaseUrl());
  try {
    const names = await (down ? rollback(db) : migrate(db));
    say(
      process.stdout,
      names.length > 0
        ? `${down ? 'undone' : 'applied'}: ${names.join(', ')}\n`
        : down
          ? 'nothing to undo\n'
          : 'the tables are up to date\n',
    );
  } finally {
    await db.destroy();
    await environment.close();
  }
}

async function showConfig({ json }: { json?: boolean }): Promise<void> {
  const config = readConfig(process.env);
  const lines = describeConfig(config);
  if (json) {
    say(process.stdout, `${plainJson(Object.fromEntries(lines.map(({ name, value }) => [name, value])))}\n`);
  } else {
    const width = Math.max(...lines.map(({ name, value }) => `${name}=${value}`.length));
    for (const { name, value, meaning } of lines)
      say(process.stdout, `${plain(`${name}=${value}`).padEnd(Math.min(width, 50))}  # ${meaning}\n`);
  }
  if (config.STORAGE_URL === undefined) return;
  const { remarksOnLimits } = await import('./storage/limit-remarks.ts');
  for (const line of await remarksOnLimits(config, config.STORAGE_URL)) say(process.stderr, `${plain(line)}\n`);
}

const program = new Command('hopla')
  .description(
    'A streaming photo-upload gateway: resumable uploads in, external storage out, nothing kept, nothing lost.',
  )
  .configureOutput({
    writeOut: (text) => say(process.stdout, text),
    writeErr: (text) => say(process.stderr, text),
  })
  .addHelpText('after', '\nSettings come from the environment and from .env; `hopla config` shows them all.');
program
  .command('serve', { isDefault: true })
  .description('run the gateway (this is what no command means)')
  .action(serve);
program
  .command('migrate')
  .description('bring the database tables up to date')
  .option('--down', 'take the newest batch of migrations back, and with it the data in its tables')
  .option('--yes', 'do that without asking')
  .action(migrateDatabase);
program
  .command('config')
  .description('show the effective settings, secrets masked')
  .option('--json', 'as JSON')
  .action(showConfig);
program.addCommand(
  adminCommand(async () => {
    const config = readConfig(process.env);
    const { openAdminEnvironment } = await import('./admin/environment.ts');
    return openAdminEnvironment(config);
  }),
);
program.addCommand(
  uploadCommand(() => ({
    url: process.env.HOPLA_URL || undefined,
    token: process.env.HOPLA_TOKEN || undefined,
    sandboxFile: join(process.env.DATA_DIR ?? '.hopla', 'sandbox.json'),
    // https://specifications.freedesktop.org/basedir-spec: what should outlive a restart of the command, and is no data.
    stateDirectory: join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'hopla', 'uploads'),
  })),
);

try {
  if (existsSync('.env')) process.loadEnvFile('.env');
  await program.parseAsync();
} catch (error) {
  // A person reads this: the message says what to do, the stack is for whoever asks for it.
  const debugging = process.env.LOG_LEVEL === 'debug' && !(error instanceof ConfigError);
  const text = error instanceof Error ? (debugging ? error.stack : error.message) : String(error);
  const whose = isDatabaseOutage(error)
    ? 'The database of DATABASE_URL cannot be reached: '
    : isDatabaseRefusal(error)
      ? 'The database server of DATABASE_URL does not let hopla in: '
      : '';
  say(process.stderr, `${whose}${text}\n`);
  process.exitCode = 1;
}
