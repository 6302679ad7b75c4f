import type { IncomingMessage } from 'node:http';
import { HoplaError } from '../../model/errors.ts';

/** A page of ids and a ticket's metadata fit in many times over. */
const LIMIT_BYTES = 256 * 1024;

/** Reads what a browser sends of a form. Throws `unsupported-media-type` and `body-too-large`. */
export async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  const [type = ''] = (request.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() !== 'application/x-www-form-urlencoded')
    throw new HoplaError('unsupported-media-type', 'Forms come as application/x-www-form-urlencoded.');
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length;
    if (bytes > LIMIT_BYTES) throw new HoplaError('body-too-large', `A form has at most ${LIMIT_BYTES} bytes.`);
    pieces.push(piece);
  }
  return new URLSearchParams(Buffer.concat(pieces).toString('utf8'));
}

/** One field. Browsers send line breaks as CR LF (HTML standard, 4.10.21.4), whatever was in the text before. */
export function field(form: URLSearchParams, name: string): string {
  return withUnixBreaks(form.get(name) ?? '');
}

export function withUnixBreaks(text: string): string {
  return text.replace(/\r\n?/g, '\n');
}
