import type { Orientation } from '../model/image-facts.ts';
import { exifOrientation } from './exif.ts';
import { type Known, type Measured, measured, type Size, type Steps, view } from './parser.ts';

/** As much as four full segments. libjpeg passes over any number of stray bytes; nobody needs more than that. */
const maxStrayBytes = 256 * 1024;

/**
 * Stray bytes are looked at so many at a time, so that a client that drips them causes few looks. It costs nothing: the
 * shortest frame header, scan and end are 23 bytes, so an image that is whole has as many left.
 */
const strayStride = 16;

/**
 * ITU-T T.81 annex B: markers with lengths until a frame header (SOFn), which says how many pixels there are. EXIF, ICC,
 * MPF and XMP segments are skipped by their lengths, so a thumbnail inside one is never mistaken for the image. Stray
 * bytes, left by software that edits EXIF carelessly, are passed over as libjpeg does: what it would decode is measured.
 */
export function* jpeg(_known: Known): Steps<Measured | null> {
  let stray = 0;
  let exif: { orientation: Orientation | null } | null = null;
  for (let at = 2; stray <= maxStrayBytes; ) {
    const found = yield* findMarker(at, at + maxStrayBytes - stray);
    if (!found) return null;
    stray += found.at - at;
    // A second start, the end, or a scan before any frame header: nothing decodes that.
    if (found.marker >= 0xd8 && found.marker <= 0xda) return null;
    const length = (yield* view(found.at + 2, 2)).getUint16(0);
    if (isFrameHeader(found.marker)) return measured(yield* frameSize(found.at + 2, length), exif?.orientation);
    if (length < 2) return null;
    at = found.at + 2 + length;
    // The first EXIF counts; XMP has the same marker.
    if (found.marker === 0xe1 && !exif) exif = yield* segmentExif(found.at + 4, at);
  }
  return null;
}

/** What an APP1 segment says of the orientation; null when it is not of EXIF. */
export function* segmentExif(start: number, end: number): Steps<{ orientation: Orientation | null } | null> {
  const letters = end - start < 6 ? null : yield* view(start, 6);
  if (letters?.getUint32(0) !== 0x45786966 || letters.getUint16(4) !== 0) return null;
  return { orientation: yield* exifOrientation(start, end) };
}

/** The next marker that begins a segment, from `at` and not behind `limit`, which is what bounds the unmetered asks. */
function* findMarker(at: number, limit: number): Steps<{ at: number; marker: number } | null> {
  const here = yield* view(at, 2);
  if (here.getUint8(0) === 0xff && beginsSegment(here.getUint8(1))) return { at, marker: here.getUint8(1) };
  for (let from = at + 1; from <= limit; ) {
    const bytes = yield { offset: from, length: strayStride + 1, metered: false, optional: false };
    // Whole strides only, or the verdict at the end of the file would depend on the pieces in which it came.
    const usable = Math.floor((bytes.length - 1) / strayStride) * strayStride;
    for (let nth = bytes.indexOf(0xff); nth >= 0 && nth < usable; nth = bytes.indexOf(0xff, nth + 1)) {
      const marker = bytes[nth + 1] ?? 0;
      if (beginsSegment(marker)) return from + nth <= limit ? { at: from + nth, marker } : null;
    }
    from += usable;
  }
  return null;
}

/** RSTn and TEM have no length, 0xff is a fill byte, and 0xff00 is no marker at all, only an escaped 0xff in stray data. */
function beginsSegment(marker: number): boolean {
  return marker > 0x01 && marker < 0xff && !(marker >= 0xd0 && marker <= 0xd7);
}

/** SOF0…SOF15 are 0xc0…0xcf, but for three that mean something else: DHT, JPG and DAC. */
function isFrameHeader(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;
}

/** B.2.2: length, precision, height, width, then three bytes for each component. */
function* frameSize(at: number, length: number): Steps<Size | null> {
  if (length < 11) return null;
  const frame = yield* view(at, length);
  const width = frame.getUint16(5);
  // B.2.5: a height of 0 is legal and means that a DNL segment behind the first scan tells it.
  return width > 0 ? { width, height: frame.getUint16(3) || null } : null;
}
