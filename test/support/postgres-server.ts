/**
 * The database server of one test run, as a program: prints its URL, runs until its standard input ends, and then removes
 * every trace. The input ends with the process at its other end, however that ends: kill -9 of mocha leaves nothing behind.
 */
import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { startSandboxPostgres } from '../../src/sandbox/postgres.ts';

const prefix = 'hopla-test-postgres-';

await sweep();
await using stack = new AsyncDisposableStack();
const directory = await mkdtemp(join(tmpdir(), prefix));
stack.defer(() => rm(directory, { recursive: true }));
const server = await startSandboxPostgres({ directory, durable: false });
stack.defer(() => server.close());
process.stdout.write(`${server.databaseUrl}\n`);
await text(process.stdin);

/** Removes what a run left whose server process was killed itself. One that is in use refuses, and stays. */
async function sweep(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(prefix)) continue;
    const left = join(tmpdir(), name);
    try {
      const { uid, mtimeMs } = await lstat(left);
      // Younger ones may be between their making and their lock. Those of other users we do not trust.
      if (uid !== process.geteuid?.() || Date.now() - mtimeMs < 60_000) continue;
      const orphan = await startSandboxPostgres({ directory: left, durable: false });
      await orphan.close();
      await rm(left, { recursive: true });
    } catch {
      // In use by another run, or removed by it meanwhile (ENOENT): either way not ours to clean.
    }
  }
}
