import { open, rename, rm } from 'node:fs/promises';

/**
 * Replaces a file that only its owner may read (mode 0600), as a whole: a reader finds the old text or the new one, and
 * so does the next start after a crash.
 */
export async function writePrivateFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  // A mode counts only for a file that is made: one that a crash left here could be open to others.
  await rm(fresh, { force: true });
  const file = await open(fresh, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
}
