import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isPostmasterOf, readPidFile, stopProcess } from '../../packages/sandbox/postmaster-process.ts';

const run = promisify(execFile);
const PREFIX = 'hopla-chaos-';
/** Says which process runs the world of a folder; gone when the world has ended. */
const RUNNING = 'running';

/** Makes the folder of a world. `end` says that it is over; the folder stays. */
export async function makeFolder(seed: string): Promise<{ directory: string; end(): Promise<void> }> {
  await sweep();
  const directory = await mkdtemp(join(tmpdir(), `${PREFIX}${seed.replace(/\W/g, '_')}-`));
  await writeFile(join(directory, RUNNING), `${process.pid}`);
  return { directory, end: () => rm(join(directory, RUNNING), { force: true }) };
}

/** Cleans up after worlds whose own process was killed: their Postgres still runs, and their disk is still mounted. */
async function sweep(): Promise<void> {
  const names = (await readdir(tmpdir())).filter((name) => name.startsWith(PREFIX));
  for (const directory of names.map((name) => join(tmpdir(), name))) {
    const pid = Number(await readFile(join(directory, RUNNING), 'utf8').catch(() => ''));
    if (pid === 0 || exists(pid)) continue;
    const data = join(directory, 'postgres', 'postgres-data');
    const postgres = await readPidFile(data);
    if (postgres && (await isPostmasterOf(postgres.pid, data))) await stopProcess(postgres.pid, data);
    await run('umount', ['--lazy', join(directory, 'disk')]).catch(() => {});
    await rm(directory, { recursive: true, force: true });
  }
}

function exists(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    // ESRCH
    return false;
  }
}
