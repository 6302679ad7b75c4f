import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';

/** Bounds the work of normalising; passphrases are far shorter. */
export const LONGEST_PASSWORD = 1024;
const SHORTEST_PASSWORD = 12;
const TOO_SHORT = `must have at least ${SHORTEST_PASSWORD} characters`;

/**
 * A password that somebody sets: NIST SP 800-63B-4, section 3.1.1.2, asks for a length, counted in code points, and for no
 * other rule. Shorter ones that were set before go on working.
 */
export const NewPassword = z
  .string()
  .min(SHORTEST_PASSWORD, { abort: true, error: TOO_SHORT })
  .max(LONGEST_PASSWORD, { abort: true, error: `must have at most ${LONGEST_PASSWORD} characters` })
  .refine((password) => password.isWellFormed(), { abort: true, error: 'must be well-formed Unicode' })
  .refine((password) => [...normalise(password)].length >= SHORTEST_PASSWORD, TOO_SHORT);

// OWASP's password storage cheat sheet: scrypt with N = 2^16, r = 8, p = 2 is one of its equivalent minimums.
// 128 × N × r bytes = 64 MiB for the length of one check.
const COST = { N: 2 ** 16, r: 8, p: 2 };
const MAX_MEMORY_BYTES = 128 * COST.N * COST.r * 2;
const KEY_BYTES = 32;

/** Hashes a password as `scrypt$N$r$p$salt$key` (base64url). */
export async function hashPassword(password: string): Promise<string> {
  const salt = randomBytes(16);
  const key = await derive(password, salt, COST);
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

/**
 * Compares in constant time. With no hash (no such user, or no password set) it does the same work and says no,
 * so that the time of an answer does not tell who exists.
 */
export async function verifyPassword(password: string, hash: string | null): Promise<boolean> {
  const [scheme, n, r, p, salt, key] = hash?.split('$') ?? [];
  if (scheme !== 'scrypt' || !salt || !key) {
    await derive(password, Buffer.alloc(16), COST);
    return false;
  }
  const expected = Buffer.from(key, 'base64url');
  const actual = await derive(password, Buffer.from(salt, 'base64url'), { N: Number(n), r: Number(r), p: Number(p) });
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

/** NFKC, which NIST SP 800-63B names (revision 3, section 5.1.1.2): a letter with its accent is typed as one character on a phone, as two elsewhere. */
function normalise(password: string): string {
  return password.normalize('NFKC');
}

function derive(password: string, salt: Buffer, cost: typeof COST): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(normalise(password), salt, KEY_BYTES, { ...cost, maxmem: MAX_MEMORY_BYTES }, (error, key) =>
      error ? reject(error) : resolve(key),
    );
  });
}
