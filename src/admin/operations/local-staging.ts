import { stat } from 'node:fs/promises';
import { hasErrno, openStaging, type Staging } from '../../staging/local/folder.ts';

/**
 * The staging area of this machine, to look up and remove files; null where there is none. Its budget is the gateway's
 * business, which hears of every change.
 */
export async function openLocalStaging(directory: string): Promise<Staging | null> {
  try {
    await stat(directory);
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return null;
    throw error;
  }
  return openStaging({ directory, budgetBytes: 0, freeBytes: 0 });
}
