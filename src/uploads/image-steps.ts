/**
 * A stretch of the file that a parser wants to see next, in bytes. `metered` asks count against the steps that one look
 * may take; a parser that does not meter an ask bounds it itself.
 */
export type Ask = { offset: number; length: number; metered: boolean };

/**
 * A parser that names the bytes it needs and is given those, and with them whatever follows at hand. It neither knows
 * nor cares whether they come from a prefix in memory or from a file on disk, so each format is written once. A driver
 * that has not got the bytes simply does not go on: parsers never see a short answer.
 */
export type Steps<T> = Generator<Ask, T, Uint8Array>;

/** Stored pixels, before any EXIF rotation; null where a sound header leaves them out. */
export type Size = { width: number | null; height: number | null };

/** The next bytes as a DataView: network byte order by default, as in most image headers. */
export function* view(offset: number, length: number): Steps<DataView> {
  const bytes = yield { offset, length, metered: true };
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

/** Four letters at `at` of a view: a chunk name, a box type, a brand. */
export function fourLetters(bytes: DataView, at: number): string {
  return String.fromCharCode(
    bytes.getUint8(at),
    bytes.getUint8(at + 1),
    bytes.getUint8(at + 2),
    bytes.getUint8(at + 3),
  );
}

/** The formats that state their size in one place say zero only when they are broken. */
export function sized(width: number, height: number): Size | null {
  return width > 0 && height > 0 ? { width, height } : null;
}
