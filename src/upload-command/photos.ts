import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { UsageError } from '../admin/cli/question.ts';
import { plain } from '../terminal/plain-text.ts';

/** A file to upload. `slot` is the same as long as the file is: a later run finds its upload by it. */
export type LocalPhoto = { path: string; name: string; bytes: number; slot: string };

/** As many as a ticket takes. */
const MAX_PHOTOS = 1000;

/** Looks at all files before anything is sent; one that cannot be read is more likely a typo than a photo to leave out. */
export async function findPhotos(paths: string[]): Promise<LocalPhoto[]> {
  const found = new Map<string, LocalPhoto>();
  const problems: string[] = [];
  for (const path of paths) {
    try {
      const photo = await findPhoto(path);
      found.set(photo.slot, photo);
    } catch (error) {
      // A path may have line breaks, which part the problems.
      problems.push(
        plain(`${path}: ${error instanceof Error ? error.message.replace(/^\w+: |, \w+ '.*'$/g, '') : error}`),
      );
    }
  }
  if (problems.length > 0) throw new UsageError(problems.join('\n'));
  if (found.size > MAX_PHOTOS) throw new UsageError(`A ticket takes ${MAX_PHOTOS} photos, not ${found.size}.`);
  return [...found.values()];
}

async function findPhoto(path: string): Promise<LocalPhoto> {
  const real = await realpath(path);
  const { size, mtimeMs, isFile } = await stat(real).then((stats) => ({
    size: stats.size,
    mtimeMs: stats.mtimeMs,
    isFile: stats.isFile(),
  }));
  if (!isFile) throw new Error('not a file');
  await access(real, constants.R_OK);
  const slot = createHash('sha256').update(`${real}\0${size}\0${mtimeMs}`).digest('hex').slice(0, 32);
  return { path: real, name: basename(path), bytes: size, slot };
}
