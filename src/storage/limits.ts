import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import type { ImageLimits } from '../model/image-limits.ts';
import type { Storage, StoreLimits } from './port.ts';

type LimitSettings = Pick<Config, 'MAX_IMAGE_BYTES' | 'MAX_IMAGE_PIXELS' | 'chosen'>;

/** The limits that hold, and what a person should know of them. */
export type Comparison = {
  limits: ImageLimits;
  /** Settings that let images in which the store will refuse: somebody set them, so they hold. */
  warnings: string[];
  /** Settings that nobody set, lowered to what the store takes. */
  notes: string[];
};

const compared = [
  { name: 'MAX_IMAGE_BYTES', limit: 'bytes', unit: 'bytes' },
  { name: 'MAX_IMAGE_PIXELS', limit: 'pixels', unit: 'pixels' },
] as const;

/** Compares what hopla accepts with what the store takes. */
export function compareLimits(config: LimitSettings, store: StoreLimits): Comparison {
  const limits = { bytes: config.MAX_IMAGE_BYTES, pixels: config.MAX_IMAGE_PIXELS };
  const warnings: string[] = [];
  const notes: string[] = [];
  for (const { name, limit, unit } of compared) {
    const taken = store[limit];
    if (taken === null || taken >= limits[limit]) continue;
    const fact = `the storage takes images of at most ${taken} ${unit}`;
    if (config.chosen.has(name)) {
      warnings.push(
        `${fact}, and ${name}=${limits[limit]} lets larger ones in, which will fail. Lower ${name}, or raise the storage's plan.`,
      );
    } else {
      limits[limit] = taken;
      notes.push(`${fact}: ${name}, which is not set, is lowered to that.`);
    }
  }
  return { limits, warnings, notes };
}

const DAY_MS = 24 * 3_600_000;
/** A store that did not tell may be away, or the key may lack the right to ask: that changes by a person alone. */
const RETRY_MS = 10 * 60_000;
const ASK_TIMEOUT_MS = 5_000;
/** How long a start waits for the store's answer. */
const FIRST_ANSWER_MS = 2_000;

export type LimitsWatch = {
  limits: ImageLimits;
  /** What a person should change. */
  warnings(): readonly string[];
  close(): void;
};

/** Asks the store for its limits now, and once a day; resolves when it has answered, or is too slow to be waited for. */
export async function watchLimits(
  config: LimitSettings,
  storage: Pick<Storage, 'limits'>,
  log: Logger,
): Promise<LimitsWatch> {
  const closing = new AbortController();
  const { signal } = closing;
  let now = compareLimits(config, { bytes: null, pixels: null });

  const ask = async (): Promise<number> => {
    try {
      const store = await storage.limits(AbortSignal.any([signal, AbortSignal.timeout(ASK_TIMEOUT_MS)]));
      const before = now;
      now = compareLimits(config, store);
      for (const warning of now.warnings.filter((text) => !before.warnings.includes(text))) log.warn(warning);
      for (const note of now.notes.filter((text) => !before.notes.includes(text))) log.info(note);
      return DAY_MS;
    } catch (error) {
      if (!signal.aborted) log.info({ err: error }, 'the storage does not tell its limits; it is asked again');
      return RETRY_MS;
    }
  };
  const first = ask();
  const goOn = async () => {
    for (let waitMs = await first; ; waitMs = await ask()) await delay(waitMs, undefined, { signal, ref: false });
  };
  // Ends by abort alone.
  goOn().catch(() => {});
  await Promise.race([first, delay(FIRST_ANSWER_MS, undefined, { signal, ref: false })]);
  return {
    limits: {
      get bytes() {
        return now.limits.bytes;
      },
      get pixels() {
        return now.limits.pixels;
      },
    },
    warnings: () => now.warnings,
    close: () => closing.abort(),
  };
}
