import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Asset } from '../../packages/sandbox/cloudinary/assets.ts';
import type { FaultRule } from '../../packages/sandbox/cloudinary/faults.ts';
import { startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { freePort } from './ports.ts';

/** What the storage holds: `sha256` is that of the bytes on its disk, not of what it says. */
export type StoredAsset = { publicId: string; bytes: number; sha256: string };

/** The storage, which can be closed, opened again on the same port with what it had, and made to misbehave. */
export type Store = {
  readonly cloudinaryUrl: string;
  down(): Promise<void>;
  up(): Promise<void>;
  /** Takes effect until the function that is given back is called. */
  misbehave(rule: FaultRule): () => void;
  assets(): Promise<StoredAsset[]>;
  close(): Promise<void>;
};

/** Far away, as a real one is: so a kill finds transfers under way. */
const LATENCY: FaultRule = { match: { operation: 'upload' }, fault: { kind: 'delay', ms: 300 } };

export async function startStore(directory: string): Promise<Store> {
  const port = await freePort();
  const start = async () => {
    const server = await startSandboxCloudinary({ directory, port, ledgerFile: true });
    return { server, hurry: server.faults.add(LATENCY) };
  };
  let { server, hurry } = await start();
  return {
    cloudinaryUrl: server.cloudinaryUrl,
    down: () => server.close(),
    async up() {
      ({ server, hurry } = await start());
    },
    misbehave(rule) {
      // The first rule that matches strikes, and that must not be the latency.
      hurry();
      const behave = server.faults.add(rule);
      hurry = server.faults.add(LATENCY);
      return behave;
    },
    // Read from its disk: what counts is what is there, whatever the server says.
    async assets() {
      const records = (await readdir(join(directory, 'records'))).map((name) => join(directory, 'records', name));
      const assets: StoredAsset[] = [];
      for (const path of records) {
        const { publicId, blob } = JSON.parse(await readFile(path, 'utf8')) as Asset;
        const content = await readFile(join(directory, 'blobs', blob));
        const sha256 = createHash('sha256').update(content).digest('hex');
        assets.push({ publicId, bytes: content.length, sha256 });
      }
      return assets;
    },
    close: () => server.close(),
  };
}
