import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as delay } from 'node:timers/promises';

/** A directory held by this process alone. */
export type DirectoryLock = { release(): void };

class DirectoryInUse extends Error {}

/** SQLITE_BUSY, https://www.sqlite.org/rescode.html#busy */
const busy = 5;

/**
 * Takes `directory` for this process, or throws an Error naming the process that has it.
 *
 * Node has no flock, and a file holding a pid outlives the process it names, so that two starters can both believe it
 * stale. SQLite takes a real kernel lock on the file: it ends with the process, however that ends, and needs no clean-up.
 * The lock lasts as long as the returned object is referenced; a collected database closes itself.
 */
export function lockDirectory(directory: string, name: string): DirectoryLock {
  const file = openFile(join(directory, name));
  try {
    // The pid has to be committed to be readable by others, and BEGIN IMMEDIATE (unlike EXCLUSIVE) lets them read it
    // afterwards. Whoever gets in between the two transactions wins, and we fail on the second: still only one holder.
    file.exec(`BEGIN IMMEDIATE; PRAGMA user_version = ${process.pid}; COMMIT; BEGIN IMMEDIATE`);
  } catch (error) {
    const taken = error instanceof Error && 'errcode' in error && error.errcode === busy;
    const holder = taken ? file.prepare('PRAGMA user_version').get()?.user_version : undefined;
    file.close();
    throw taken
      ? new DirectoryInUse(`This DATA_DIR is in use by another running hopla (pid ${holder}): ${directory}`, {
          cause: error,
        })
      : error;
  }
  return {
    release() {
      if (file.isOpen) file.close();
    },
  };
}

/** Takes `directory` as soon as a process that is about to end lets go of it; after `withinMs` it throws as above. */
export async function awaitDirectory(directory: string, name: string, withinMs: number): Promise<DirectoryLock> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    try {
      return lockDirectory(directory, name);
    } catch (error) {
      if (!(error instanceof DirectoryInUse) || performance.now() > deadline) throw error;
      await delay(20);
    }
  }
}

function openFile(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path);
  } catch (cause) {
    throw new Error(`This user cannot write ${path}. Was hopla run here by another user before?`, { cause });
  }
}
