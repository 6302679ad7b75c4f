/**
 * The database server of a test run, as a program: prints a URL, runs until the end of standard input, and then removes
 * every trace. Standard input ends with mocha's process, even after kill -9, so no run leaves a server behind.
 */
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { startSandboxPostgres } from '../../packages/sandbox/postgres.ts';

const prefix = 'hopla-test-postgres-';

await sweep();
await using stack = new AsyncDisposableStack();
const directory = await mkdtemp(join(tmpdir(), prefix));
stack.defer(() => rm(directory, { recursive: true }));
const server = await startSandboxPostgres({ directory, durable: false });
stack.defer(() => server.close());
process.stdout.write(`${server.databaseUrl}\n`);
await text(process.stdin);

/** Removes the folders of killed server processes. A folder in use is locked, and stays. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(prefix)) continue;
    const left = join(tmpdir(), name);
    try {
      const { uid, mtimeMs } = await lstat(left);
      // A younger folder may not have a lock yet. Folders of other users are not trusted.
      if (uid !== process.geteuid?.() || Date.now() - mtimeMs < 60_000) continue;
      const orphan = await startSandboxPostgres({ directory: left, durable: false });
      await orphan.close();
      await rm(left, { recursive: true });
    } catch {
      // Another run uses the folder, or has removed the folder meanwhile (ENOENT).
    }
  }
}
