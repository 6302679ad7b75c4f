import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { mediaTypeOf } from '../../http/media-type.ts';
import { HoplaError } from '../../model/errors.ts';
import type { AppendEnd } from '../session/body-writer.ts';

/** The body of a request that brings bytes of an upload. */
export type UploadBody = Readable & Pick<IncomingMessage, 'headers'>;

/** The content type of every body that brings bytes of an upload. */
export const OFFSET_STREAM = 'application/offset+octet-stream';

/** RFC 9112 section 6.3: a request without either header has no body. */
export function hasContent(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Whether the body, be it empty, is announced as bytes of an image. */
export function isOffsetStream({ 'content-type': type }: IncomingHttpHeaders): boolean {
  // Most requests have exactly this type, and nothing to be parsed.
  return type === OFFSET_STREAM || mediaTypeOf(type) === OFFSET_STREAM;
}

/** Checks that a body consists of the image's own bytes. Throws 415 `unsupported-media-type`. */
export function assertOffsetStream(headers: IncomingHttpHeaders): void {
  if (!isOffsetStream(headers))
    throw new HoplaError('unsupported-media-type', `Send the bytes as Content-Type: ${OFFSET_STREAM}.`);
  // Stored as they come, compressed bytes would be no image. RFC 9110 section 15.5.16 has the answer name what is taken.
  const coding = headers['content-encoding'];
  if (coding !== undefined && coding.trim().toLowerCase() !== 'identity')
    throw new HoplaError('unsupported-media-type', 'Send the bytes as they are, without Content-Encoding.', {
      headers: { 'Accept-Encoding': 'identity' },
    });
}

/** Throws when a body did not come to its end; where `signal` ended it, for the reason that this gives. */
export function assertEnd(end: AppendEnd, { reason }: AbortSignal): void {
  if (end === 'aborted' && reason instanceof HoplaError) throw reason;
  if (end === 'aborted')
    throw new HoplaError('upload-locked', 'Another request took over this upload.', { retryAfterMs: 1000 });
  // Nobody hears this one: the client is gone.
  if (end === 'cut') throw new HoplaError('upload-unavailable', 'The connection ended before the body did.');
}
