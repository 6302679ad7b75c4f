import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A run that did not end well: by its key another run opens the same ticket again. */
export type Unfinished = { key: string; forget(): Promise<void>; renew(): Promise<string> };

/** No ticket lives longer (`expiresIn` is at most 7 days): what is older is of no use to anybody. */
const KEPT_MS = 8 * 86_400_000;

/**
 * Finds what an earlier run with the same `what` (gateway, description and files) left, or notes down this one.
 *
 * The file holds an idempotency key and nothing else. With it the gateway hands out the ticket of the first run with a
 * fresh upload token, and the ticket itself says which photos it has: nothing secret and no progress is kept here. It is
 * written before the ticket is opened, so that not even a lost answer opens a second one.
 */
export async function noteRun(directory: string, what: string[]): Promise<Unfinished> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  await forgetOld(directory);
  const file = join(directory, createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 32));
  const renew = async () => {
    const key = `hopla-upload-${randomUUID()}`;
    await writeFile(file, key, { mode: 0o600 });
    return key;
  };
  const known = await readFile(file, 'utf8').catch(ignoreMissing);
  return {
    key: known?.startsWith('hopla-upload-') ? known : await renew(),
    renew,
    forget: () => rm(file, { force: true }),
  };
}

async function forgetOld(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    const file = join(directory, name);
    const { mtimeMs } = (await stat(file).catch(ignoreMissing)) ?? { mtimeMs: Date.now() };
    if (Date.now() - mtimeMs > KEPT_MS) await rm(file, { force: true });
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}
