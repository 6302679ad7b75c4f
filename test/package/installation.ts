import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cleanEnvironment } from '../support/checkout.ts';
import { root } from '../support/pages.ts';

const execute = promisify(execFile);

/** What `npm pack --json` says of a tarball; sizes in bytes. */
export type Tarball = { filename: string; unpackedSize: number; files: { path: string }[] };

/** A folder outside the project in which somebody installed the tarballs. */
export type Installation = {
  readonly directory: string;
  /** Runs a command in the folder, and resolves to its standard output; rejects with its standard error when it fails. */
  run(program: string, args: string[], environment?: NodeJS.ProcessEnv): Promise<string>;
  /** Starts a command in the folder, as the leader of a process group. */
  start(program: string, args: string[], environment?: NodeJS.ProcessEnv): ChildProcess;
  save(name: string, content: string | Buffer): Promise<void>;
  read(name: string): Promise<string>;
  has(name: string): boolean;
  close(): Promise<void>;
};

/** Packs a package of the project into `destination`; its `prepack` script builds it first. */
export async function pack(packageFolder: string, destination: string): Promise<Tarball> {
  const { stdout } = await execute('npm', ['pack', '--json', '--silent', '--pack-destination', destination], {
    cwd: join(root, packageFolder),
    maxBuffer: 16 * 1024 * 1024,
  });
  const packed: unknown = JSON.parse(stdout.slice(stdout.search(/^[[{]/m)));
  const [tarball] = Object.values(packed as Record<string, Tarball>);
  if (tarball === undefined) throw new Error(`npm pack made nothing of ${packageFolder}`);
  return tarball;
}

/** Installs tarballs into a new folder as `npm install` does for anybody, from the registry and npm's cache. */
export async function install(tarballs: string[]): Promise<Installation> {
  await using installing = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-package-'));
  installing.defer(() => rm(directory, { recursive: true, force: true }));
  await writeFile(join(directory, 'package.json'), '{ "private": true, "type": "module" }\n');
  const settings = (more: NodeJS.ProcessEnv) => ({
    cwd: directory,
    env: { ...cleanEnvironment(), XDG_STATE_HOME: join(directory, 'state'), ...more },
  });
  await execute('npm', ['install', ...tarballs, '--prefer-offline', '--no-audit', '--no-fund'], settings({}));
  const installed = installing.move();
  return {
    directory,
    run: async (program, args, environment = {}) => (await execute(program, args, settings(environment))).stdout,
    start(program, args, environment = {}) {
      const child = spawn(program, args, {
        ...settings(environment),
        detached: true,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      installed.defer(() => endGroup(child));
      return child;
    },
    async save(name, content) {
      await mkdir(join(directory, name, '..'), { recursive: true });
      await writeFile(join(directory, name), content);
    },
    read: (name) => readFile(join(directory, name), 'utf8'),
    has: (name) => existsSync(join(directory, name)),
    close: () => installed.disposeAsync(),
  };
}

async function endGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await ended;
}
