import { createHash } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { crc32 } from 'node:zlib';
import { HoplaError } from '../../model/errors.ts';

/** A running digest of bytes. */
export type RunningDigest = { update(bytes: Uint8Array): void; digest(): Buffer };

const hash = (algorithm: string) => (): RunningDigest => createHash(algorithm);

/** What `Upload-Checksum` may name (tus 1.0.0, Checksum), with the digest's length in bytes. */
const algorithms = new Map([
  ['sha1', { bytes: 20, start: hash('sha1') }],
  ['md5', { bytes: 16, start: hash('md5') }],
  ['sha256', { bytes: 32, start: hash('sha256') }],
  ['sha512', { bytes: 64, start: hash('sha512') }],
  ['crc32', { bytes: 4, start: startCrc32 }],
]);

/** For `Tus-Checksum-Algorithm`. */
export const CHECKSUM_ALGORITHMS = [...algorithms.keys()].join(',');

/** What a client says the bytes of one request add up to. */
export type Checksum = { algorithm: string; digest: Buffer };

/**
 * The checksum of a body, by its header: null where there is none, `'trailer'` where one follows the body. Throws 400
 * `malformed-request` for one that is malformed, or of another algorithm.
 */
export function parseChecksum(headers: IncomingHttpHeaders): Checksum | 'trailer' | null {
  const value = headers['upload-checksum'];
  if (value !== undefined) return readChecksum(String(value));
  const trailers = headers.trailer?.toLowerCase().split(',') ?? [];
  return trailers.some((name) => name.trim() === 'upload-checksum') ? 'trailer' : null;
}

/** Reads `Upload-Checksum`: an algorithm and a base64 digest. Throws 400 `malformed-request`. */
export function readChecksum(value: string): Checksum {
  const [algorithm = '', text = '', ...more] = value.trim().split(/[ \t]+/);
  const known = algorithms.get(algorithm);
  if (!known)
    throw new HoplaError('malformed-request', `Upload-Checksum must name one of: ${CHECKSUM_ALGORITHMS}.`, {
      headers: { 'Tus-Checksum-Algorithm': CHECKSUM_ALGORITHMS },
    });
  const digest = Buffer.from(text, 'base64');
  // Node decodes whatever it can: only what encodes to the same text was base64.
  if (more.length > 0 || digest.length !== known.bytes || digest.toString('base64') !== text)
    throw new HoplaError(
      'malformed-request',
      `Upload-Checksum must be an algorithm and the base64 of its digest; that of ${algorithm} has ${known.bytes} bytes.`,
    );
  return { algorithm, digest };
}

/** Digests that begin with the first byte: of the one algorithm, or of all while nobody knows which the trailer will name. */
export function startDigests(expected: Checksum | 'trailer'): Map<string, RunningDigest> {
  const names = expected === 'trailer' ? [...algorithms.keys()] : [expected.algorithm];
  return new Map(
    names.flatMap((name) => {
      const algorithm = algorithms.get(name);
      return algorithm ? [[name, algorithm.start()] as const] : [];
    }),
  );
}

/** CRC-32 of zlib, PNG and Ethernet; its digest is in network byte order. */
function startCrc32(): RunningDigest {
  let value = 0;
  return {
    update(bytes) {
      value = crc32(bytes, value);
    },
    digest() {
      const digest = Buffer.alloc(4);
      digest.writeUInt32BE(value);
      return digest;
    },
  };
}
