import { json } from 'node:stream/consumers';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { refuseStranger } from './admin.ts';
import { refuse } from './answer.ts';
import type { Call } from './call.ts';
import { type FaultRule, faultSchema, operations } from './faults.ts';
import { send } from './send.ts';

/** A rule as it comes over HTTP: a regular expression is `{pattern, flags}`. */
const ruleSchema = z.strictObject({
  name: z.string().optional(),
  match: z
    .strictObject({
      publicId: z
        .union([z.string(), z.strictObject({ pattern: z.string(), flags: z.string().optional() }).transform(toRegExp)])
        .optional(),
      attempt: z.union([z.int().min(1), z.array(z.int().min(1)), z.literal('every')]).optional(),
      operation: z.enum(operations).optional(),
    })
    .optional(),
  times: z.int().min(1).optional(),
  fault: faultSchema,
}) satisfies z.ZodType<FaultRule>;

/**
 * The fault plan and the ledger for tests in another process: `PUT /_sandbox/faults` with an array of rules replaces
 * all rules, `DELETE` removes them, `GET /_sandbox/ledger?publicId=` shows the ledger. Only for callers on this machine who
 * have the account's key and secret.
 */
export async function control(call: Call): Promise<void> {
  const { req, url, sandbox } = call;
  if (!isLoopback(req.socket.remoteAddress)) return send(call, refuse(403, 'Only from this machine'));
  const refusal = refuseStranger(call);
  if (refusal !== null) return send(call, refusal);
  switch (`${req.method} ${url.pathname}`) {
    case 'PUT /_sandbox/faults': {
      const rules = z.array(ruleSchema).safeParse(await json(req).catch(() => undefined));
      if (!rules.success) return send(call, refuse(400, z.prettifyError(rules.error)));
      sandbox.faults.clear();
      for (const rule of rules.data) sandbox.faults.add(rule);
      return send(call, { status: 200, json: { rules: rules.data.length } });
    }
    case 'DELETE /_sandbox/faults':
      sandbox.faults.clear();
      return send(call, { status: 200, json: { rules: 0 } });
    case 'GET /_sandbox/ledger': {
      const publicId = url.searchParams.get('publicId');
      return send(call, {
        status: 200,
        json: { entries: sandbox.ledger.entries(publicId === null ? {} : { publicId }) },
      });
    }
    default:
      return send(call, refuse(404, `No such address - ${url.pathname}`));
  }
}

function toRegExp(
  { pattern, flags }: { pattern: string; flags?: string | undefined },
  context: z.RefinementCtx,
): RegExp {
  try {
    return new RegExp(pattern, flags);
  } catch (error) {
    // SyntaxError, the only one this throws.
    context.addIssue(String(error));
    return z.NEVER;
  }
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && ipaddr.process(address).range() === 'loopback';
}
