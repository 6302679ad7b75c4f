import { createHash } from 'node:crypto';

/** SHA-256 in lower-case hex, as in the API. */
export function sha256Of(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
