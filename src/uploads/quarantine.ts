import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { hasErrno } from './staging.ts';

/**
 * Staged files that no image is known for, kept aside for a while in a folder of the staging area: the database may be an
 * older backup, and then they are photos that somebody was promised.
 */
export type Quarantine = {
  /** Moves a staged file aside and resolves to its bytes; null when it is too young, or not there any more. */
  take(imageId: string): Promise<number | null>;
  /** Removes for good what was taken longer ago than it is kept; resolves to the ids. */
  clear(): Promise<string[]>;
};

const FOLDER = '.quarantine';
/** A younger file may belong to an image that is about to get its row (whole.ts), in this process or another. */
const FRESH_MS = 10 * 60_000;

/** @param keepMs how long files are kept, in milliseconds */
export function createQuarantine(stagingDirectory: string, keepMs: number): Quarantine {
  const folder = join(stagingDirectory, FOLDER);
  return {
    async take(imageId) {
      const path = join(stagingDirectory, imageId);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const now = new Date();
      try {
        const { size, mtimeMs } = await stat(path);
        if (now.getTime() - mtimeMs < FRESH_MS) return null;
        // The time since when it is kept. First, as whoever dies in between finds it where it was.
        await utimes(path, now, now);
        await rename(path, join(folder, imageId));
        return size;
      } catch (error) {
        // Another process on this staging area was first.
        if (hasErrno(error, 'ENOENT')) return null;
        throw error;
      }
    },
    async clear() {
      const removed: string[] = [];
      for (const name of await namesIn(folder)) {
        const path = join(folder, name);
        const taken = (await stat(path).catch(() => null))?.mtimeMs;
        if (taken === undefined || Date.now() - taken < keepMs) continue;
        await rm(path, { force: true });
        removed.push(name);
      }
      return removed;
    },
  };
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    // Nothing was ever taken.
    if (hasErrno(error, 'ENOENT')) return [];
    throw error;
  }
}
