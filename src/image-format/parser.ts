import type { Orientation } from '../model/image-facts.ts';
import type { ImageFormat } from '../model/image-kinds.ts';

/**
 * A stretch of the file that a parser wants to see next, in bytes. `metered` asks count against the steps that one look
 * may take; a parser that does not meter an ask bounds it itself. An `optional` ask beyond the end of the file is answered
 * by no bytes, any other one there ends the look: the header is cut off.
 */
export type Ask = { offset: number; length: number; metered: boolean; optional: boolean };

/**
 * A parser that names the bytes it needs and is given those, and with them whatever follows at hand. It neither knows
 * nor cares whether they come from a prefix in memory or from a file on disk, so each format is written once. A driver
 * that has not got the bytes simply does not go on: parsers see a short answer only where they said it is optional.
 */
export type Steps<T> = Generator<Ask, T, Uint8Array>;

/** Stored pixels, before any EXIF rotation; null where a sound header leaves them out. */
export type Size = { width: number | null; height: number | null };

/** What a parser finds: the stored pixels, how they are turned, and the part of them that is shown, before it is turned. */
export type Measured = Size & { orientation: Orientation | null; crop: Size | null };

/** What is certain while a parser is still at work, and written by it: the kinds the file can be of, and its size. */
export type Known = { formats: readonly ImageFormat[]; size: Size | null };

/** The parser of a format. Null is a header that no decoder takes. */
export type Parser = (known: Known) => Steps<Measured | null>;

/** The next bytes as a DataView: network byte order by default, as in most image headers. */
export function* view(offset: number, length: number): Steps<DataView> {
  const bytes = yield { offset, length, metered: true, optional: false };
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

/** The same of bytes that an image can do without; null when the file ends before. */
export function* viewIfThere(offset: number, length: number): Steps<DataView | null> {
  const bytes = yield { offset, length, metered: true, optional: true };
  return bytes.length < length ? null : new DataView(bytes.buffer, bytes.byteOffset, length);
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

/** A size, and how a viewer shows it. */
export function measured(size: Size | null, orientation: Orientation | null = null, crop: Size | null = null) {
  return size && { ...size, orientation, crop };
}
