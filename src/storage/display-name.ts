/** Stores keep about 255 characters of an original file name; bytes are the stricter count. */
const MAX_BYTES = 255;

/**
 * The user's name for a file, made fit to travel in a form field: the last part of a path, on one line, without control
 * characters, at most 255 bytes of well-formed UTF-8. Null when nothing is left. Still untrusted text, for display only.
 */
export function displayName(filename: string | null): string | null {
  // Nothing after this many UTF-16 units can survive the byte limit, unless what comes before is stripped.
  const last = (filename ?? '').slice(-64 * MAX_BYTES).replace(/^.*[\\/]/s, '');
  const clean = last
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, '')
    .trim();
  let bytes = 0;
  let name = '';
  // By code points: cutting bytes could split a character.
  for (const character of clean) {
    bytes += Buffer.byteLength(character);
    if (bytes > MAX_BYTES) break;
    name += character;
  }
  return name === '' ? null : name;
}
