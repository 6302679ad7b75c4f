import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writePrivateFile } from '../../packages/sandbox/private-file.ts';

/** What scripts read from `<DATA_DIR>/sandbox.json`, which its owner alone can. */
export type SandboxFile = {
  url: string;
  token: string;
  username: string;
  /** Null once a person has given the demo user another. */
  password: string | null;
  databaseUrl: string;
  cloudinaryUrl: string;
};

export function sandboxFileOf(dataDir: string): string {
  return join(dataDir, 'sandbox.json');
}

/** What the last run left, of whatever version; null at the first start, and for a file that nobody can read. */
export async function readSandboxFile(dataDir: string): Promise<Partial<SandboxFile> | null> {
  try {
    const saved: unknown = JSON.parse(await readFile(sandboxFileOf(dataDir), 'utf8'));
    return typeof saved === 'object' ? saved : null;
  } catch {
    // ENOENT or a SyntaxError: it is made anew.
    return null;
  }
}

export async function writeSandboxFile(dataDir: string, file: SandboxFile): Promise<void> {
  await writePrivateFile(sandboxFileOf(dataDir), `${JSON.stringify(file, null, 2)}\n`);
}
