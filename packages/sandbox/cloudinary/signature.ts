import { createHash, timingSafeEqual } from 'node:crypto';
import { type Answer, refuse } from './answer.ts';
import type { Fields } from './form.ts';

export type Account = { cloudName: string; apiKey: string; apiSecret: string };

/** https://cloudinary.com/documentation/authentication_signatures names these as not signed. */
const unsigned = new Set(['file', 'api_key', 'signature', 'cloud_name', 'resource_type']);
const staleAfterSeconds = 3600;

/**
 * The text under the signature: sorted `name=value` of every non-empty field, joined by `&`.
 * Version 2 writes `&` inside a field as `%26`, so that one field cannot pose as two.
 */
function stringToSign(fields: Fields, version: 1 | 2): string {
  return [...fields]
    .filter(([name, value]) => !unsigned.has(name) && value !== '')
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${value}`)
    .map((pair) => (version === 2 ? pair.replaceAll('&', '%26') : pair))
    .join('&');
}

/** Who asks, and when: null when the fields carry a valid and fresh signature, else Cloudinary's refusal. */
export function refuseUnsigned(fields: Fields, account: Account, nowMs: number): Answer | null {
  const signature = fields.get('signature') ?? '';
  const apiKey = fields.get('api_key') ?? '';
  const timestamp = Number(fields.get('timestamp'));
  if (signature === '') return refuse(400, 'Upload preset must be specified when using unsigned upload');
  if (apiKey === '') return refuse(401, 'Missing required parameter - api_key');
  if (apiKey !== account.apiKey) return refuse(401, `Unknown API key ${apiKey}`);
  if (!Number.isFinite(timestamp) || timestamp <= 0) return refuse(400, 'Missing required parameter - timestamp');

  const genuine = ([2, 1] as const).some((version) => {
    const expected = sign(
      stringToSign(fields, version),
      account.apiSecret,
      signature.length === 64 ? 'sha256' : 'sha1',
    );
    return equal(expected, signature.toLowerCase());
  });
  if (!genuine) {
    return refuse(401, `Invalid Signature ${signature}. String to sign - '${stringToSign(fields, 2)}'.`);
  }
  if (nowMs / 1000 - timestamp > staleAfterSeconds) {
    const reported = new Date(timestamp * 1000).toISOString().replace('T', ' ').replace('.000Z', ' +0000');
    return refuse(400, `Stale request - reported time is ${reported} which is more than 1 hour ago`);
  }
  return null;
}

/** The signature in an answer, by which the caller knows that it is Cloudinary who says so: version 1, always sha1. */
export function signAnswer(publicId: string, version: number, apiSecret: string): string {
  return sign(`public_id=${publicId}&version=${version}`, apiSecret, 'sha1');
}

function sign(text: string, secret: string, algorithm: 'sha1' | 'sha256'): string {
  return createHash(algorithm).update(`${text}${secret}`).digest('hex');
}

export function equal(expected: string, given: string): boolean {
  const [a, b] = [Buffer.from(expected), Buffer.from(given)];
  return a.length === b.length && timingSafeEqual(a, b);
}
