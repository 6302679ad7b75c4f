import { ERRORS } from '@tus/utils';
import { type ErrorCode, HoplaError } from '../../model/errors.ts';

/** What @tus/server throws, by identity: plain objects of a status and a text. */
const codes = new Map<unknown, ErrorCode>([
  [ERRORS.FILE_NOT_FOUND, 'upload-not-found'],
  [ERRORS.FILE_NO_LONGER_EXISTS, 'upload-gone'],
  [ERRORS.INVALID_OFFSET, 'offset-conflict'],
  [ERRORS.ERR_SIZE_EXCEEDED, 'length-exceeded'],
  [ERRORS.ERR_MAX_SIZE_EXCEEDED, 'image-too-large'],
  [ERRORS.INVALID_LENGTH, 'malformed-request'],
  [ERRORS.INVALID_METADATA, 'malformed-request'],
  [ERRORS.MISSING_OFFSET, 'malformed-request'],
  [ERRORS.ABORTED, 'upload-locked'],
]);

/** Makes a HoplaError of whatever ended a tus request. `offset` is where the upload stands, if that was learnt. */
export function toUploadError(thrown: unknown, offset: number | undefined): HoplaError {
  if (thrown instanceof HoplaError) return thrown;
  const code = codes.get(thrown);
  if (code === 'offset-conflict' && offset !== undefined) {
    return new HoplaError(code, `The upload stands at ${offset}.`, {
      headers: { 'Upload-Offset': `${offset}` },
      members: { offset },
    });
  }
  if (code)
    return new HoplaError(code, isPlain(thrown) && code === 'malformed-request' ? thrown.body.trim() : undefined);
  if (isPlain(thrown) && thrown.status_code < 500) return new HoplaError('malformed-request', thrown.body.trim());
  return new HoplaError('upload-unavailable', undefined, { cause: thrown, retryAfterMs: 1000 });
}

function isPlain(thrown: unknown): thrown is { status_code: number; body: string } {
  return typeof thrown === 'object' && thrown !== null && 'status_code' in thrown && 'body' in thrown;
}
