import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writePrivateFile } from '../private-file.ts';

/** What the server has to remember from one run to the next. */
type Saved = { apiSecret: string; port: number | undefined };

/** Reads the secret and the last port of the server in `directory`, or makes a secret for one that never ran. */
export async function openAccountFile(directory: string): Promise<Saved & { keepPort(port: number): Promise<void> }> {
  const path = join(directory, 'account.json');
  const saved = (await read(path)) ?? { apiSecret: randomBytes(24).toString('hex'), port: undefined };
  return {
    ...saved,
    async keepPort(port) {
      if (port !== saved.port) await writePrivateFile(path, `${JSON.stringify({ ...saved, port })}\n`);
    },
  };
}

async function read(path: string): Promise<Saved | null> {
  try {
    const saved: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof saved !== 'object' || saved === null) return null;
    if (!('apiSecret' in saved) || typeof saved.apiSecret !== 'string') return null;
    return {
      apiSecret: saved.apiSecret,
      port: 'port' in saved && typeof saved.port === 'number' ? saved.port : undefined,
    };
  } catch {
    // ENOENT or a SyntaxError: nothing that is stored depends on the secret, so a new one will do.
    return null;
  }
}
