import type { Orientation } from '../model/image-facts.ts';
import { exifOrientation } from './exif.ts';
import {
  fourLetters,
  type Known,
  type Measured,
  measured,
  type Size,
  type Steps,
  sized,
  view,
  viewIfThere,
} from './parser.ts';

// The formats that state their size at a fixed place. Each takes a file whose signature already matched
// and answers null for a header that no decoder takes.

/** Writers put a handful of chunks before the pixels; a look behind more of them than this is not worth it. */
const maxPngChunks = 64;

/** An animation has a chunk for each frame, and EXIF comes behind them all. */
const maxWebpChunks = 512;

/** PNG third edition, section 11.2.1: IHDR comes first and has 13 bytes. Apple's CgBI variant is not a PNG to anyone else. */
export function* png(known: Known): Steps<Measured | null> {
  const ihdr = yield* view(8, 4 + 4 + 13 + 4);
  if (ihdr.getUint32(0) !== 13 || fourLetters(ihdr, 4) !== 'IHDR') return null;
  known.size = sized(ihdr.getUint32(8), ihdr.getUint32(12));
  return known.size && measured(known.size, yield* pngOrientation(8 + 25));
}

/** Section 11.3.4.5: eXIf comes before or behind the pixels. Readers that show a file as it arrives look before them. */
function* pngOrientation(first: number): Steps<Orientation | null> {
  for (let at = first, nth = 0; nth < maxPngChunks; nth += 1) {
    const head = yield* viewIfThere(at, 8);
    if (!head) return null;
    const type = fourLetters(head, 4);
    const end = at + 8 + head.getUint32(0);
    if (type === 'eXIf') return yield* exifOrientation(at + 8, end);
    if (type === 'IDAT' || type === 'IEND') return null;
    at = end + 4;
  }
  return null;
}

/** GIF89a section 18, the logical screen. Some writers leave it 0×0 and mean "as large as the frames". */
export function* gif(): Steps<Measured | null> {
  const screen = yield* view(6, 7);
  return measured({ width: screen.getUint16(0, true) || null, height: screen.getUint16(2, true) || null });
}

/** RFC 9649 section 2: one of three first chunks, each with its own way to write two sizes of 14 or 24 bits. */
export function* webp(known: Known): Steps<Measured | null> {
  const chunk = fourLetters(yield* view(12, 4), 0);
  if (chunk === 'VP8 ') {
    // RFC 6386 section 9.1: a key frame (lowest bit 0), its start code, then 14 bits of size and 2 of scaling each.
    const frame = yield* view(20, 10);
    const startsWell = (frame.getUint8(0) & 1) === 0 && frame.getUint16(3) === 0x9d01 && frame.getUint8(5) === 0x2a;
    return startsWell ? measured(sized(frame.getUint16(6, true) & 0x3fff, frame.getUint16(8, true) & 0x3fff)) : null;
  }
  if (chunk === 'VP8L') {
    const header = yield* view(20, 5);
    const bits = header.getUint32(1, true);
    return header.getUint8(0) === 0x2f ? measured(sized((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1)) : null;
  }
  if (chunk !== 'VP8X') return null;
  const extended = yield* view(16, 14);
  const threeBytes = (at: number) => extended.getUint16(at, true) + extended.getUint8(at + 2) * 0x10000 + 1;
  const size: Size = { width: threeBytes(8), height: threeBytes(11) };
  known.size = size;
  const hasExif = (extended.getUint8(4) & 0x08) !== 0;
  return measured(size, hasExif ? yield* webpOrientation(20 + extended.getUint32(0, true)) : null);
}

/** RFC 9649 section 2.7: where the flags announce it, a chunk of EXIF follows the pixels. Chunks have an even length. */
function* webpOrientation(first: number): Steps<Orientation | null> {
  for (let at = first, nth = 0; nth < maxWebpChunks; nth += 1) {
    const head = yield* viewIfThere(at, 8);
    if (!head) return null;
    const length = head.getUint32(4, true);
    if (fourLetters(head, 0) === 'EXIF') return yield* exifOrientation(at + 8, at + 8 + length);
    at += 8 + length + (length % 2);
  }
  return null;
}

/** BITMAPCOREHEADER has 16-bit sizes, its successors signed 32-bit ones, where a negative height means rows from the top. */
export function* bmp(): Steps<Measured | null> {
  const length = (yield* view(14, 4)).getUint32(0, true);
  const header = yield* view(14, length);
  const core = length === 12;
  if (header.getUint16(core ? 8 : 12, true) !== 1) return null; // one plane, always
  if (core) return measured(sized(header.getUint16(4, true), header.getUint16(6, true)));
  return measured(sized(Math.abs(header.getInt32(4, true)), Math.abs(header.getInt32(8, true))));
}
