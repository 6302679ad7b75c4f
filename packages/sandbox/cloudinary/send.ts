import { pipeline } from 'node:stream/promises';
import type { Answer } from './answer.ts';
import { type Call, waited } from './call.ts';

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

/** Lets go of an answer that will not be sent. */
export async function discard(answer: Answer): Promise<void> {
  if ('file' in answer) await answer.file.close();
}
