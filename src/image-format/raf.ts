import { segmentExif } from './jpeg.ts';
import { type Known, type Measured, measured, type Size, type Steps, sized, view, viewIfThere } from './parser.ts';

/** As many records as ExifTool takes; real files have about ten. */
const maxRecords = 255;

/**
 * Fujifilm's RAF, as ExifTool and LibRaw read it: at fixed places it says where a JPEG is, which has EXIF, and where its
 * records are, each a tag and a length. Two of them are the size of the sensor's picture and of the part that is shown.
 */
export function* raf(_known: Known): Steps<Measured | null> {
  const head = yield* view(84, 12);
  const [preview, length, records] = [head.getUint32(0), head.getUint32(4), head.getUint32(8)];
  const exif = yield* previewExif(preview, preview + length);
  const sizes = yield* recordedSizes(records);
  const full = sizes.get(0x100) ?? sizes.get(0x111) ?? { width: null, height: null };
  return measured(full, exif?.orientation, sizes.get(0x111));
}

function* previewExif(start: number, end: number): ReturnType<typeof segmentExif> {
  const first = start + 6 > end ? null : yield* viewIfThere(start, 6);
  if (first?.getUint32(0) !== 0xffd8ffe1) return null;
  return yield* segmentExif(start + 6, Math.min(end, start + 4 + first.getUint16(4)));
}

function* recordedSizes(start: number): Steps<Map<number, Size>> {
  const sizes = new Map<number, Size>();
  const count = (yield* view(start, 4)).getUint32(0);
  if (count > maxRecords) return sizes;
  for (let at = start + 4, nth = 0; nth < count; nth += 1) {
    const head = yield* view(at, 8);
    // Height comes first.
    const size = head.getUint16(2) === 4 ? sized(head.getUint16(6), head.getUint16(4)) : null;
    if (size) sizes.set(head.getUint16(0), size);
    at += 4 + head.getUint16(2);
  }
  return sizes;
}
