import { LRUCache } from 'lru-cache';
import { createRateLimit, type RateLimit } from '../http/rate-limit.ts';
import { HoplaError } from '../model/errors.ts';
import { clientNetwork } from './address.ts';
import { createFairQueue, QueueFull } from './fair-queue.ts';
import { nameKey } from './user-names.ts';

/** Whose password is checked, and for whom. `signal` aborts when the client leaves. */
export type Attempt = { username: string; address: string; signal: AbortSignal };

export type PasswordChecks = {
  /**
   * Runs a check in its turn, and resolves to what it found. Throws `invalid-credentials` if that is null,
   * `too-many-requests` after too many failures, and `service-unavailable` where too many checks wait.
   */
  run<T>(attempt: Attempt, check: () => Promise<T | null>): Promise<T>;
};

/** A check takes 64 MiB and one of the threads that also write the images (bin/hopla): a flood of logins leaves them the others. */
const CHECKS_AT_ONCE = 2;
/** A check takes 0.2 to 0.4 s and two run at once, so the last of them waits for 6 to 13 s. */
const WAITING_AT_MOST = 64;
const COME_BACK_MS = 5_000;
/** Behind the address of an office, a school or a mobile network are many people, some of whom mistype. */
const PER_ADDRESS = 5;
/** Only many addresses together reach this bound. With a low one anybody could lock a user out by guessing. */
const PER_NAME = 20;
/** Users and the addresses that they signed in from, about 100 bytes each. */
const KNOWN_PAIRS = 10_000;

/**
 * One mechanism for every door that takes a password. Failures count, within a minute, for the name from that address, for
 * the address whatever the name, and for the name whatever the address. The last count does not refuse an address from
 * which the user signed in before: a flood of guesses from elsewhere does not lock the user out.
 */
export function createPasswordChecks(failuresPerMinute: number): PasswordChecks {
  const queue = createFairQueue({ width: CHECKS_AT_ONCE, length: WAITING_AT_MOST });
  const limitOf = (factor: number) => createRateLimit(failuresPerMinute * factor, 'failed logins');
  const limits = { pair: limitOf(1), address: limitOf(PER_ADDRESS), name: limitOf(PER_NAME) };
  const known = new LRUCache<string, true>({ max: KNOWN_PAIRS });

  return {
    async run({ username, address, signal }, check) {
      const network = clientNetwork(address);
      const name = nameKey(username);
      const pair = `${network} ${name}`;
      // The limits are taken before the password is looked at and given back on success: parallel guesses count as well.
      const giveBack = await takeAll([
        [limits.address, network],
        [limits.pair, pair],
        ...(known.has(pair) ? [] : [[limits.name, name] as const]),
      ]);
      let looked = false;
      const found = await queue
        .run(network, signal, () => {
          looked = true;
          return check();
        })
        .catch(async (error: unknown) => {
          // The client made no guess, or learnt nothing by it.
          await giveBack();
          throw looked ? error : refusal(error, signal);
        });
      if (found === null) throw new HoplaError('invalid-credentials');
      known.set(pair, true);
      await giveBack();
      return found;
    },
  };
}

/** Takes one of each limit, or none. Resolves to what gives them back. */
async function takeAll(wanted: (readonly [RateLimit, string])[]): Promise<() => Promise<void>> {
  const taken: typeof wanted = [];
  const giveBack = async () => {
    for (const [limit, key] of taken) await limit.giveBack(key);
  };
  for (const [limit, key] of wanted) {
    try {
      await limit.take(key);
    } catch (error) {
      await giveBack();
      throw error;
    }
    taken.push([limit, key]);
  }
  return giveBack;
}

function refusal(error: unknown, signal: AbortSignal): unknown {
  if (error instanceof QueueFull) {
    const detail = 'Too many passwords wait to be checked; try again in a moment.';
    return new HoplaError('service-unavailable', detail, { retryAfterMs: COME_BACK_MS });
  }
  return signal.aborted ? new HoplaError('malformed-request', 'The client left before its turn came.') : error;
}
