import type { Config } from '../config.ts';
import { compareLimits } from './limits.ts';
import { openStorage } from './open.ts';

const ASK_STORAGE_MS = 3_000;

/** What the storage's own limits mean for the settings, a line each. */
export async function remarksOnLimits(config: Config, url: string): Promise<string[]> {
  const storage = openStorage(config, url, 1);
  try {
    const limits = await storage.limits(AbortSignal.timeout(ASK_STORAGE_MS));
    const { warnings, notes } = compareLimits(config, limits);
    return [...warnings.map((text) => `warning: ${text}`), ...notes.map((text) => `note: ${text}`)];
  } catch (error) {
    return [`note: the storage does not tell its limits: ${error instanceof Error ? error.message : error}`];
  } finally {
    storage.close();
  }
}
