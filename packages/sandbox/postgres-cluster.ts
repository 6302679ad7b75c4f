import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chown, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { PostgresPrograms, RunAs } from './postgres-programs.ts';

/** What has to be remembered of a cluster from one run to the next. */
export type ClusterAccess = { password: string; port: number | undefined };

/** Postgres programs get nothing of our environment: PGDATA, PGPORT, LANG, TZ and the like would change what they do. */
export const cleanEnvironment = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/**
 * How a program whose working directory is the data directory calls that directory. Postgres runs as another user when we
 * are root, and that user may not pass a closed directory above (/root, or one fresh from mkdtemp). It need not: Linux
 * enters the working directory before it changes the user, and this link leads there without asking those above.
 */
export function fromInside(dataDirectory: string): string {
  return existsSync('/proc/self/cwd') ? '/proc/self/cwd' : dataDirectory;
}

/** Reads the password and last port of the cluster in `dataDirectory`, or makes a password for one yet to be made. */
export async function openAccess(file: string, dataDirectory: string): Promise<ClusterAccess> {
  try {
    const saved: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof saved === 'object' && saved !== null && 'password' in saved && typeof saved.password === 'string') {
      return {
        password: saved.password,
        port: 'port' in saved && typeof saved.port === 'number' ? saved.port : undefined,
      };
    }
    throw new Error('It holds no password');
  } catch (cause) {
    if (existsSync(dataDirectory))
      throw new Error(`The password of the database cannot be read from ${file}`, { cause });
    const access = { password: randomBytes(24).toString('hex'), port: undefined };
    await saveAccess(file, access);
    return access;
  }
}

/** Replaces the file as a whole, so that a crash leaves the old password or the new one. */
export async function saveAccess(file: string, access: ClusterAccess): Promise<void> {
  await writeFile(`${file}.new`, JSON.stringify(access), { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
}

/** Makes the cluster in `dataDirectory`. It appears there when it is complete: an interrupted attempt leaves nothing. */
export async function createCluster(
  dataDirectory: string,
  password: string,
  { initdb, runAs }: PostgresPrograms,
  durable: boolean,
): Promise<void> {
  const scratch = `${dataDirectory}.new`;
  const unfinished = join(scratch, basename(dataDirectory));
  const passwordFile = join(scratch, 'password');
  await rm(scratch, { recursive: true, force: true });
  await mkdir(unfinished, { recursive: true, mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  for (const path of [scratch, unfinished, passwordFile]) await giveTo(runAs, path);

  const inside = fromInside(unfinished);
  const arguments_ = [
    ...['-D', inside, `--pwfile=${inside}/../password`, '--username=hopla', '--auth=scram-sha-256'],
    ...['--encoding=UTF8', '--no-locale', '--no-instructions', ...(durable ? [] : ['--no-sync'])],
  ];
  const child = spawn(initdb, arguments_, {
    ...runAs,
    cwd: unfinished,
    env: cleanEnvironment,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [complaints, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
  if (code !== 0) throw new Error(`The database cannot be initialised in ${dataDirectory}: ${complaints}`);

  await rename(unfinished, dataDirectory);
  await rm(scratch, { recursive: true });
  // initdb has synced what is inside; without this a power cut could still take the name away.
  if (durable) await syncDirectory(dirname(dataDirectory));
}

async function giveTo({ uid, gid }: RunAs, path: string): Promise<void> {
  if (uid !== undefined && gid !== undefined) await chown(path, uid, gid);
}

async function syncDirectory(directory: string): Promise<void> {
  await using handle = await open(directory);
  await handle.sync();
}
