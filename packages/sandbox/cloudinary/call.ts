import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import type { Assets } from './assets.ts';
import type { Fault, FaultBook, Operation } from './faults.ts';
import type { ReadImageInfo } from './image-format.ts';
import type { LedgerBook, LedgerEntry, LedgerLine } from './ledger.ts';
import type { Account } from './signature.ts';

/** What all handlers share. */
export type Sandbox = {
  account: Account;
  assets: Assets;
  ledger: LedgerBook;
  faults: FaultBook;
  readImageInfo: ReadImageInfo;
  now(): number;
  url(): string;
};

/** One HTTP request on its way through a handler. */
export type Call = {
  sandbox: Sandbox;
  req: IncomingMessage;
  res: ServerResponse;
  /** Path, still percent-encoded, and query. */
  url: URL;
  /** Aborted when the answer is out or the connection is gone. */
  gone: AbortSignal;
  /** Set by `meetFault`. */
  fault: Fault | null;
  line: LedgerLine | null;
};

/** Asks the plan what strikes this call and opens its line in the ledger. The first time counts. */
export function meetFault(
  call: Call,
  operation: Operation,
  publicId: string | null,
  known: Partial<LedgerEntry> = {},
): Fault | null {
  if (call.line !== null) return call.fault;
  const { attempt, fault, name } = call.sandbox.faults.meet(operation, publicId);
  call.fault = fault;
  // The ledger is about what was asked of the API; whoever looks at stored images would only bury that.
  if (operation === 'delivery') return fault;
  call.line = call.sandbox.ledger.open({
    operation,
    method: call.req.method ?? '',
    path: call.url.pathname,
    publicId,
    attempt,
    ...(name === undefined ? {} : { fault: name }),
    ...known,
  });
  return fault;
}

/** False when the caller left before the time was over. */
export async function waited(call: Call, ms: number): Promise<boolean> {
  try {
    await pause(ms, undefined, { signal: call.gone });
    return true;
  } catch {
    // AbortError: the only way this timer fails.
    return false;
  }
}
