import { type Answer, refuse } from './answer.ts';
import { type Call, waited } from './call.ts';
import type { FaultOf } from './faults.ts';
import { discard, send } from './send.ts';

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
