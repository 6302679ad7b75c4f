import { isUtf8 } from 'node:buffer';
import { HoplaError } from '../../model/errors.ts';

const METADATA_CHARS = 8 * 1024;

/** Printable ASCII but the two characters that separate pairs, and keys from values. */
const KEY = /^[!-+\--~]+$/;
const BASE64 = /^(?:[\d+/A-Za-z]{4})*(?:[\d+/A-Za-z]{2}==|[\d+/A-Za-z]{3}=)?$/;

/**
 * Reads `Upload-Metadata`: comma-separated pairs of a key and a base64 value, which may be left out. Values are bytes. Throws
 * 400 `malformed-request`, and 431 `headers-too-large`.
 *
 * Blanks around a pair are no part of it: two header lines of one name arrive joined by ", ", and TUSKit writes them as well.
 */
export function parseMetadata(header: string | null): Map<string, Buffer> {
  const metadata = new Map<string, Buffer>();
  if (header === null) return metadata;
  if (header.length > METADATA_CHARS)
    throw new HoplaError('headers-too-large', `Upload-Metadata has at most ${METADATA_CHARS} characters.`);
  for (const pair of header.split(',')) {
    const [key = '', value = '', ...more] = pair.trim().split(/[ \t]+/);
    if (!KEY.test(key) || !BASE64.test(value) || more.length > 0 || metadata.has(key))
      throw new HoplaError(
        'malformed-request',
        'Upload-Metadata must be comma-separated pairs of a unique key and a base64 value.',
      );
    metadata.set(key, Buffer.from(value, 'base64'));
  }
  return metadata;
}

/** A value as text; null where there is none, or where it is empty. Throws 422 `invalid-request` for bytes that are no UTF-8. */
export function textOf(metadata: Map<string, Buffer>, key: string): string | null {
  const value = metadata.get(key);
  if (!value?.length) return null;
  // Decoded anyway, two different values could become the same text.
  if (!isUtf8(value)) throw invalidMetadata(key, 'must be UTF-8');
  return value.toString();
}

/** 422 `invalid-request` for the value of one key. */
export function invalidMetadata(key: string, message: string): HoplaError {
  return new HoplaError('invalid-request', `Upload-Metadata ${key}: ${message}`, {
    members: { errors: [{ path: `Upload-Metadata.${key}`, message }] },
  });
}
