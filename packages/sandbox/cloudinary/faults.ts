import { z } from 'zod';

export const operations = ['upload', 'destroy', 'resource', 'ping', 'usage', 'delivery'] as const;
export type Operation = (typeof operations)[number];

const status = z.int().min(200).max(599);
const milliseconds = z.int().min(0);
const limit = z.int().min(0).optional();
/** What an error answer consists of: Cloudinary's JSON, or a proxy's HTML page. */
const refusal = {
  status,
  message: z.string().optional(),
  html: z.boolean().optional(),
  retryAfterSeconds: z.int().min(0).optional(),
};

/**
 * Everything the sandbox can do wrong. `not-reading` and `early-answer` strike where the file part of an upload begins;
 * a call without a file takes them as `hang` and `status`.
 */
export const faultSchema = z.discriminatedUnion('kind', [
  /** Reads everything, then answers this; with `stores` the work was done all the same. */
  z.object({ kind: z.literal('status'), ...refusal, stores: z.boolean().optional() }),
  /** Does the work, then waits before it answers. */
  z.object({ kind: z.literal('delay'), ms: milliseconds }),
  /** Reads everything and never answers; with `stores` the work was done all the same. */
  z.object({ kind: z.literal('hang'), stores: z.boolean().optional() }),
  /** Takes the connection and the fields, and never reads the file. */
  z.object({ kind: z.literal('not-reading') }),
  /** Resets the connection once this many bytes of the file are here; a smaller file is never reset. */
  z.object({ kind: z.literal('reset-at-byte'), byte: z.int().min(0) }),
  /** Stores the asset and resets the connection instead of answering. */
  z.object({ kind: z.literal('reset-after-storing') }),
  /** Reads everything, stores nothing and resets the connection. */
  z.object({ kind: z.literal('reset-before-storing') }),
  /** Answers before the file is read, then reads and discards it, leaves it unread, or closes the connection. */
  z.object({ kind: z.literal('early-answer'), ...refusal, afterwards: z.enum(['drain', 'stall', 'close']) }),
  /** Stores rightly and reports another md5. */
  z.object({ kind: z.literal('wrong-etag'), etag: z.string().optional() }),
  /** Stores only the first bytes; reports that honestly (`truncated`), or claims to have them all (`full`). */
  z.object({ kind: z.literal('truncated-copy'), bytes: z.int().min(0), reports: z.enum(['truncated', 'full']) }),
  /** Sends the answer's body one byte at a time. */
  z.object({ kind: z.literal('dripped-answer'), everyMs: milliseconds.optional() }),
  /** The Date header is off by this much. */
  z.object({ kind: z.literal('lying-clock'), offsetMs: z.int() }),
  /** The account's plan has these limits: `usage` names them, and an upload above one of them is refused. */
  z.object({
    kind: z.literal('media-limits'),
    image_max_size_bytes: limit,
    image_max_px: limit,
    video_max_size_bytes: limit,
    raw_max_size_bytes: limit,
    asset_max_total_px: limit,
  }),
]);
export type Fault = z.infer<typeof faultSchema>;
export type FaultOf<Kind extends Fault['kind']> = Extract<Fault, { kind: Kind }>;

export type FaultRule = {
  /** Shown in the ledger instead of the fault's kind. */
  name?: string | undefined;
  match?:
    | {
        publicId?: string | RegExp | undefined;
        /** The nth call of its operation for one public id, from 1; `every` is the default. */
        attempt?: number | number[] | 'every' | undefined;
        operation?: Operation | undefined;
      }
    | undefined;
  /** How often the rule may strike in all; unbounded by default. */
  times?: number | undefined;
  fault: Fault;
};

export type FaultPlan = {
  /** The first rule that matches strikes. Gives back the function that takes the rule away. */
  add(rule: FaultRule): () => void;
  clear(): void;
};

/** What a call met: its number for its public id, and the rule that strikes it, if any. */
type Encounter = { attempt: number; fault: Fault | null; name: string | undefined };

/** Attempts are counted for this many public ids; the longest known is forgotten first, so a long demo cannot grow. */
const countedLimit = 20_000;

/** The plan as its victims see it: each call asks once what it meets. */
export type FaultBook = FaultPlan & { meet(operation: Operation, publicId: string | null): Encounter };

export function createFaultPlan(): FaultBook {
  const rules = new Set<{ rule: FaultRule; left: number }>();
  const attempts = new Map<string, number>();

  return {
    add(rule) {
      const entry = { rule, left: rule.times ?? Number.POSITIVE_INFINITY };
      rules.add(entry);
      return () => void rules.delete(entry);
    },
    clear: () => rules.clear(),
    meet(operation, publicId) {
      const key = `${operation} ${publicId}`;
      const attempt = (attempts.get(key) ?? 0) + 1;
      attempts.delete(key);
      attempts.set(key, attempt);
      for (const oldest of attempts.keys()) {
        if (attempts.size <= countedLimit) break;
        attempts.delete(oldest);
      }
      for (const entry of rules) {
        if (entry.left === 0 || !matches(entry.rule, operation, publicId, attempt)) continue;
        entry.left -= 1;
        return { attempt, fault: entry.rule.fault, name: entry.rule.name ?? entry.rule.fault.kind };
      }
      return { attempt, fault: null, name: undefined };
    },
  };
}

function matches({ match = {} }: FaultRule, operation: Operation, publicId: string | null, attempt: number): boolean {
  if (match.operation !== undefined && match.operation !== operation) return false;
  if (typeof match.publicId === 'string' && match.publicId !== publicId) return false;
  // `search` ignores lastIndex: a rule with a /g expression must not match every other time only.
  if (match.publicId instanceof RegExp && (publicId ?? '').search(match.publicId) < 0) return false;
  if (match.attempt === undefined || match.attempt === 'every') return true;
  return [match.attempt].flat().includes(attempt);
}
