import { mkdir, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { hasErrno } from './folder.ts';

/**
 * Staged files that no image is known for, kept aside for a while in a folder of the staging area: the database may be an
 * older backup, and then they are photos that somebody was promised.
 */
export type Quarantine = {
  /** Moves a staged file aside and resolves to its bytes; null when it is not there any more. */
  take(imageId: string): Promise<number | null>;
  /**
   * Moves a file back that was taken; false when it was not. A commit may come late: that of a process which was killed
   * while the database was frozen, say, or from a newer backup.
   */
  giveBack(imageId: string): Promise<boolean>;
  /** Removes for good what was taken longer ago than it is kept; resolves to the ids. */
  clear(): Promise<string[]>;
};

const FOLDER = '.quarantine';

/**
 * @param keepMs how long files are kept, in milliseconds; unless somebody said so, for ever: nothing tells a photo whose row was
 *   lost from one that nobody was promised
 */
export function createQuarantine(stagingDirectory: string, keepMs = Number.POSITIVE_INFINITY): Quarantine {
  const folder = join(stagingDirectory, FOLDER);
  return {
    async take(imageId) {
      const path = join(stagingDirectory, imageId);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const now = new Date();
      try {
        const { size } = await stat(path);
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
    async giveBack(imageId) {
      try {
        await rename(join(folder, imageId), join(stagingDirectory, imageId));
        return true;
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return false;
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
