import type { Fault, FaultRule } from '../../packages/sandbox/cloudinary/faults.ts';
import type { Random } from './random.ts';

/**
 * Every kind of the sandbox's fault plan, with two exceptions. A refusal for good (400 "Invalid image file", 413) ends an
 * image by right, which is not what this world is about. And a `truncated-copy` that is reported as `full` cannot be told
 * from a good one by any answer of the storage: whoever wants to see that has to fetch every image again.
 */
export function storageFault(random: Random, brief: boolean): FaultRule {
  const fault = random.pick(brief ? quick : [...quick, ...slow])(random);
  const attempt = random.pick([1, [1, 2], 2, 'every'] as const);
  return {
    name: `${fault.kind}${'status' in fault ? ` ${fault.status}` : ''}`,
    match: {
      attempt: Array.isArray(attempt) ? [...attempt] : (attempt as 1 | 2 | 'every'),
      // Without an operation it meets the check as well, and the storage looks as if it were away.
      ...(random.chance(0.7) ? { operation: 'upload' as const } : {}),
    },
    // One account that is refused stops everything for long enough.
    ...('status' in fault && fault.status === 401 ? { times: 1 } : {}),
    fault,
  };
}

const quick: ((random: Random) => Fault)[] = [
  (random) => ({ kind: 'status', status: random.pick([500, 502, 503, 408, 420, 429]), html: random.chance(0.3) }),
  (random) => ({ kind: 'status', status: random.pick([503, 420, 429]), retryAfterSeconds: random.int(0, 2) }),
  () => ({ kind: 'status', status: 500, stores: true }),
  (random) => ({ kind: 'delay', ms: random.int(200, 2_000) }),
  (random) => ({ kind: 'reset-at-byte', byte: random.int(0, 100_000) }),
  () => ({ kind: 'reset-after-storing' }),
  () => ({ kind: 'reset-before-storing' }),
  (random) => ({ kind: 'early-answer', status: 503, afterwards: random.pick(['drain', 'close'] as const) }),
  () => ({ kind: 'wrong-etag' }),
  (random) => ({ kind: 'truncated-copy', bytes: random.int(1, 2_000), reports: 'truncated' }),
  () => ({ kind: 'dripped-answer', everyMs: 1 }),
  (random) => ({ kind: 'lying-clock', offsetMs: random.pick([-3_600_000, 3_600_000]) }),
];

/** Those that are over only when the gateway gives up on them. */
const slow: ((random: Random) => Fault)[] = [
  () => ({ kind: 'delay', ms: 4_000 }),
  (random) => ({ kind: 'hang', stores: random.chance(0.5) }),
  () => ({ kind: 'not-reading' }),
  () => ({ kind: 'early-answer', status: 503, afterwards: 'stall' }),
  () => ({ kind: 'status', status: 401 }),
];
