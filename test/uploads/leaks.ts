import { readdir, readlink } from 'node:fs/promises';
import { expect } from 'chai';
import { until } from '../support/client.ts';
import type { TestGateway } from '../support/gateway.ts';

/** Notes what Node warns of (too many listeners, unhandled rejections) until `check`. */
export function watchLeaks() {
  const warnings: string[] = [];
  const note = (warning: Error) => void warnings.push(`${warning.name}: ${warning.message}`);
  process.on('warning', note);
  return {
    /** Fails unless nothing is left in staging, neither files nor open descriptors, and nothing was warned of. */
    async check(gateway: TestGateway): Promise<void> {
      process.off('warning', note);
      await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
      await until('no file of staging is open', async () => (await openUnder(gateway.config.STAGING_DIR)).length === 0);
      expect(warnings).to.deep.equal([]);
    },
  };
}

/** Files under a folder, removed ones too, that this process has open. */
export async function openUnder(folder: string): Promise<string[]> {
  const names = await readdir('/proc/self/fd').catch(() => []);
  // ENOENT: the descriptor of the listing itself, or one that was closed meanwhile.
  const targets = await Promise.all(names.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(`${folder}/`));
}
