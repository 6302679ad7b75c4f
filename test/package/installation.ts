import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { cleanEnvironment } from '../support/checkout.ts';
import { root } from '../support/pages.ts';

const execute = promisify(execFile);

type Manifest = { name: string; version: string };

/** Bytes of each file of an installed package, by its path. */
export type Contents = ReadonlyMap<string, number>;

/** A folder outside the project with the tarballs installed. */
export type Installation = {
  readonly directory: string;
  /** Runs a command in the folder. Resolves to the standard output; rejects with `code` and `stderr` when the command fails. */
  run(program: string, args: string[], environment?: NodeJS.ProcessEnv): Promise<string>;
  /** Starts a command in the folder, as the leader of a process group. */
  start(program: string, args: string[], environment?: NodeJS.ProcessEnv): ChildProcess;
  save(name: string, content: string | Buffer): Promise<void>;
  read(name: string): Promise<string>;
  has(name: string): boolean;
  /** The files of a tarball, without the caches of earlier runs. */
  contentsOf(packageName: string): Promise<Contents>;
  close(): Promise<void>;
};

/**
 * Path of a package's tarball. `npm pack` builds the package and packs into `destination`. Where `HOPLA_TARBALLS` names a
 * folder, the tarball in the folder is taken: the release tests the files that the release then publishes.
 */
export async function packed(packageFolder: string, destination: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(root, packageFolder, 'package.json'), 'utf8')) as Manifest;
  const filename = `${manifest.name}-${manifest.version}.tgz`;
  if (process.env.HOPLA_TARBALLS) return join(process.env.HOPLA_TARBALLS, filename);
  await execute('npm', ['pack', '--silent', '--pack-destination', destination], { cwd: join(root, packageFolder) });
  return join(destination, filename);
}

/** Installs tarballs into a new folder by `npm install`, with dependencies from npm's cache and the registry. */
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
    async contentsOf(packageName) {
      const folder = join(directory, 'node_modules', packageName);
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      const paths = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
      const own = paths.filter((path) => !relative(folder, path).startsWith('node_modules/'));
      return new Map(
        await Promise.all(own.map(async (path) => [relative(folder, path), (await stat(path)).size] as const)),
      );
    },
    close: () => installed.disposeAsync(),
  };
}

async function endGroup(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await ended;
}
