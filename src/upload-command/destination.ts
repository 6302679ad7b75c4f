import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { UsageError } from '../admin/cli/question.ts';

export type Destination = { url: string; token: string };

/** What of it is known, from options or from the environment. */
export type Known = { url?: string | undefined; token?: string | undefined };

const SandboxFile = z.object({ url: z.url(), token: z.string() });

/** Where to upload to: what was said; else what `npm start` left in its `sandbox.json`, the two only together. */
export async function findDestination(known: Known, sandboxFile: string): Promise<Destination> {
  const sandbox = await readSandbox(sandboxFile);
  const url = known.url ?? sandbox?.url;
  if (url === undefined) throw new UsageError('Say where hopla runs: --url or HOPLA_URL.');
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? '')) throw new UsageError(`--url: ${url} is not an http address.`);
  // The sandbox's token is nobody else's business.
  const ownToken = sandbox && new URL(sandbox.url).origin === new URL(url).origin ? sandbox.token : undefined;
  const token = known.token ?? ownToken;
  if (token === undefined) throw new UsageError('A user token is needed: --token or HOPLA_TOKEN.');
  return { url, token };
}

async function readSandbox(file: string): Promise<Destination | null> {
  try {
    return SandboxFile.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    // ENOENT: no sandbox was ever started here; anything else: a crash left it unreadable.
    return null;
  }
}
