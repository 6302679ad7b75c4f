import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listSettings } from '../../src/config.ts';
import type { SandboxFile } from '../../src/demo/sandbox-file.ts';
import { until } from './client.ts';
import { root } from './pages.ts';

/** A folder like a fresh checkout after `npm start`, and a second terminal in the same folder. */
export type Checkout = SandboxFile & {
  /** Runs commands in the second terminal's shell. Resolves to the standard output; rejects when a command fails. */
  run(commands: string): Promise<string>;
  /** Puts a file into the folder. */
  save(name: string, content: string | Buffer): Promise<void>;
  /** Stops both, as Ctrl-C and closing the terminal would, and removes the folder. */
  close(): Promise<void>;
};

/** The first start makes a database, which takes long on a busy machine. */
const START_MS = 60_000;
const COMMANDS_MS = 60_000;

export async function startCheckout(): Promise<Checkout> {
  await using starting = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-checkout-'));
  starting.defer(() => rm(directory, { recursive: true, force: true }));
  for (const name of ['node_modules', 'package.json', 'bin', 'migrations', 'src', 'test'])
    await symlink(join(root, name), join(directory, name));

  const options = { cwd: directory, env: { ...cleanEnvironment(), PORT: '0' }, detached: true };
  const server = spawn('npm', ['start'], options);
  starting.defer(() => signalGroup(server, 'SIGINT'));
  const serverSays = [collect(server.stdout), collect(server.stderr)];
  const file = join(directory, '.hopla/sandbox.json');
  await until(
    'npm start writes sandbox.json',
    () => {
      if (server.exitCode !== null) throw new Error(`npm start ended: ${serverSays.map((text) => text()).join('\n')}`);
      return existsSync(file);
    },
    START_MS,
  );

  const shell = spawn('bash', ['--noprofile', '--norc'], options);
  starting.defer(() => signalGroup(shell, 'SIGKILL'));
  const started = starting.move();
  return {
    ...(JSON.parse(await readFile(file, 'utf8')) as SandboxFile),
    run: createRun(shell),
    save: (name, content) => writeFile(join(directory, name), content),
    close: () => started.disposeAsync(),
  };
}

/** Writes commands into a shell as a person types, so variables and background jobs live on. */
function createRun(shell: ReturnType<typeof spawn>): Checkout['run'] {
  const printed = collect(shell.stdout);
  const complained = collect(shell.stderr);
  let seen = 0;
  let count = 0;
  shell.stdin?.write('set -euo pipefail\n');
  return async (commands) => {
    count += 1;
    const mark = `-- end of commands ${count} --\n`;
    shell.stdin?.write(`${commands}\necho; echo '${mark.trim()}'\n`);
    const complaints = () => `${commands}\n${printed().slice(seen)}\n${complained()}`;
    await until(
      `the end of: ${commands}`,
      () => {
        if (shell.exitCode !== null) throw new Error(`a command failed: ${complaints()}`);
        return printed().includes(mark, seen);
      },
      COMMANDS_MS,
    );
    const end = printed().indexOf(mark, seen);
    const output = printed().slice(seen, end).replaceAll('\r', '').trimEnd();
    seen = end + mark.length;
    return output;
  };
}

/** The environment of a new terminal: no settings of hopla, and no variables of the npm that runs the tests. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const settings = new Set<string>(listSettings().map(({ name }) => name));
  const kept = Object.entries(process.env).filter(([name]) => !settings.has(name) && !name.startsWith('npm_'));
  return Object.fromEntries(kept);
}

/** Collects the text of a stream; the function returns the text so far. */
export function collect(stream: NodeJS.ReadableStream | null): () => string {
  let text = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (piece: string) => {
    text += piece;
  });
  return () => text;
}

async function signalGroup(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const closed = once(child, 'close');
  process.kill(-child.pid, signal);
  await closed;
}
