import type { FileHandle } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import type { Assets } from './assets.ts';
import type { Fault, FaultBook, FaultOf, Operation } from './faults.ts';
import type { LedgerBook, LedgerEntry, LedgerLine } from './ledger.ts';
import type { Account } from './signature.ts';

/** What all handlers share. */
export type Sandbox = {
  account: Account;
  assets: Assets;
  ledger: LedgerBook;
  faults: FaultBook;
  now(): number;
  url(): string;
};

/** One HTTP request on its way through a handler. */
export type Call = {
  sandbox: Sandbox;
  req: IncomingMessage;
  res: ServerResponse;
  /** Decoded path and query. */
  url: URL;
  /** Aborted when the answer is out or the connection is gone. */
  gone: AbortSignal;
  /** Set by `meetFault`. */
  fault: Fault | null;
  line: LedgerLine | null;
};

type Body = { json: Record<string, unknown> } | { html: string } | { file: FileHandle; bytes: number };
export type Answer = { status: number; headers?: Record<string, string> } & Body;

/** Cloudinary's form of an error. */
export function refuse(status: number, message: string): Answer {
  // A header value is printable ASCII; the message may quote whatever the caller sent.
  return { status, headers: { 'X-Cld-Error': message.replace(/[^\x20-\x7e]/g, '?') }, json: { error: { message } } };
}

/** Opens the ledger's line for this call and asks the plan what strikes it. The first time counts. */
export function meetFault(
  call: Call,
  operation: Operation,
  publicId: string | null,
  known: Partial<LedgerEntry> = {},
): Fault | null {
  if (call.line !== null) return call.fault;
  const { attempt, fault, name } = call.sandbox.faults.meet(operation, publicId);
  call.fault = fault;
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

/** Does the work of a call whose request is read, and answers, both as far as the fault lets it. */
export async function conduct(call: Call, work: () => Promise<Answer>): Promise<void> {
  const { fault } = call;
  switch (fault?.kind) {
    case 'hang':
    case 'not-reading':
      if (fault.kind === 'hang' && fault.stores) await discard(await work());
      return call.line?.end();
    case 'reset-before-storing':
      return reset(call);
    case 'reset-after-storing':
      await discard(await work());
      return reset(call);
    case 'early-answer':
      return send(call, refusalOf(fault));
    case 'status':
      if (fault.stores) await discard(await work());
      return send(call, refusalOf(fault));
  }
  const answer = await work();
  if (fault?.kind === 'delay' && !(await waited(call, fault.ms))) {
    await discard(answer);
    return call.line?.end();
  }
  return send(call, answer);
}

/** Ends a call in the middle of its file, as a fault of the body wants it. */
export async function overtake(call: Call): Promise<void> {
  if (call.fault?.kind === 'reset-at-byte') return reset(call);
  // Not reading: the paused request keeps the connection open and the caller's writes stuck until someone gives up.
  if (call.fault?.kind !== 'early-answer') return call.line?.end();
  if (call.fault.afterwards === 'close') call.res.setHeader('Connection', 'close');
  await send(call, refusalOf(call.fault));
  if (call.fault.afterwards === 'drain') call.req.resume();
}

/** Sends an answer and completes the ledger's line, in the other order: who has the answer finds the line complete. */
export async function send(call: Call, answer: Answer): Promise<void> {
  const { res, req, fault, sandbox } = call;
  if (res.destroyed || res.headersSent) {
    await discard(answer);
    return call.line?.end();
  }
  call.line?.end({ answered: answer.status });
  const offsetMs = fault?.kind === 'lying-clock' ? fault.offsetMs : 0;
  res.sendDate = false;
  res.setHeader('Date', new Date(sandbox.now() + offsetMs).toUTCString());
  res.statusCode = answer.status;
  for (const [name, value] of Object.entries(answer.headers ?? {})) res.setHeader(name, value);

  if ('file' in answer) {
    res.setHeader('Content-Length', answer.bytes);
    if (req.method !== 'HEAD') return pipeline(answer.file.createReadStream(), res);
    await answer.file.close();
    return void res.end();
  }
  const [type, text] =
    'html' in answer ? ['text/html', answer.html] : ['application/json', JSON.stringify(answer.json)];
  const body = Buffer.from(text);
  res.setHeader('Content-Type', `${type}; charset=utf-8`);
  res.setHeader('Content-Length', body.length);
  if (req.method === 'HEAD') return void res.end();
  if (fault?.kind !== 'dripped-answer') return void res.end(body);
  for (const byte of body) {
    res.write(Buffer.of(byte));
    if (!(await waited(call, fault.everyMs ?? 1))) return;
  }
  res.end();
}

function refusalOf(fault: FaultOf<'status' | 'early-answer'>): Answer {
  const message = fault.message ?? `The fault plan answers ${fault.status}`;
  const headers = fault.retryAfterSeconds === undefined ? {} : { 'Retry-After': `${fault.retryAfterSeconds}` };
  if (fault.html) {
    return { status: fault.status, headers, html: `<html><head><title>${message}</title></head></html>\r\n` };
  }
  const answer = refuse(fault.status, message);
  return { ...answer, headers: { ...answer.headers, ...headers } };
}

function reset(call: Call): void {
  call.line?.end();
  call.req.socket.resetAndDestroy();
}

/** False when the caller left before the time was over. */
async function waited(call: Call, ms: number): Promise<boolean> {
  try {
    await pause(ms, undefined, { signal: call.gone });
    return true;
  } catch {
    // AbortError: the only way this timer fails.
    return false;
  }
}

async function discard(answer: Answer): Promise<void> {
  if ('file' in answer) await answer.file.close();
}
