import { fourLetters, type Size, type Steps, sized, view } from './image-steps.ts';

// The formats that state their size at a fixed place. Each takes a file whose signature already matched
// and answers null for a header that no decoder takes.

/** PNG third edition, section 11.2.1: IHDR comes first and has 13 bytes. Apple's CgBI variant is not a PNG to anyone else. */
export function* pngSize(): Steps<Size | null> {
  const ihdr = yield* view(8, 4 + 4 + 13 + 4);
  if (ihdr.getUint32(0) !== 13 || fourLetters(ihdr, 4) !== 'IHDR') return null;
  return sized(ihdr.getUint32(8), ihdr.getUint32(12));
}

/** GIF89a section 18, the logical screen. Some writers leave it 0×0 and mean "as large as the frames". */
export function* gifSize(): Steps<Size | null> {
  const screen = yield* view(6, 7);
  return { width: screen.getUint16(0, true) || null, height: screen.getUint16(2, true) || null };
}

/** RFC 9649 section 2: one of three first chunks, each with its own way to write two sizes of 14 or 24 bits. */
export function* webpSize(): Steps<Size | null> {
  const chunk = fourLetters(yield* view(12, 4), 0);
  if (chunk === 'VP8 ') {
    // RFC 6386 section 9.1: a key frame (lowest bit 0), its start code, then 14 bits of size and 2 of scaling each.
    const frame = yield* view(20, 10);
    const startsWell = (frame.getUint8(0) & 1) === 0 && frame.getUint16(3) === 0x9d01 && frame.getUint8(5) === 0x2a;
    return startsWell ? sized(frame.getUint16(6, true) & 0x3fff, frame.getUint16(8, true) & 0x3fff) : null;
  }
  if (chunk === 'VP8L') {
    const header = yield* view(20, 5);
    const bits = header.getUint32(1, true);
    return header.getUint8(0) === 0x2f ? sized((bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1) : null;
  }
  if (chunk !== 'VP8X') return null;
  const canvas = yield* view(24, 6);
  const threeBytes = (at: number) => canvas.getUint16(at, true) + canvas.getUint8(at + 2) * 0x10000 + 1;
  return sized(threeBytes(0), threeBytes(3));
}

/** BITMAPCOREHEADER has 16-bit sizes, its successors signed 32-bit ones, where a negative height means rows from the top. */
export function* bmpSize(): Steps<Size | null> {
  const length = (yield* view(14, 4)).getUint32(0, true);
  const header = yield* view(14, length);
  const core = length === 12;
  if (header.getUint16(core ? 8 : 12, true) !== 1) return null; // one plane, always
  if (core) return sized(header.getUint16(4, true), header.getUint16(6, true));
  return sized(Math.abs(header.getInt32(4, true)), Math.abs(header.getInt32(8, true)));
}
