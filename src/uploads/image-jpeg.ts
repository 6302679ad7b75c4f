import { type Size, type Steps, view } from './image-steps.ts';

/**
 * ITU-T T.81 annex B: markers with lengths until a frame header (SOFn), which says how many pixels there are. EXIF, ICC,
 * MPF and XMP segments are skipped by their lengths, so a thumbnail inside one is never mistaken for the image.
 * Stray bytes between segments are passed over as libjpeg does it: what it would decode is what is measured here.
 */
export function* jpegSize(): Steps<Size | null> {
  let at = 2;
  for (;;) {
    const segment = yield* view(at, 4);
    const marker = segment.getUint8(1);
    if (segment.getUint8(0) !== 0xff || marker === 0xff) at += 1;
    else if (standsAlone(marker)) at += 2;
    // A second start, the end, or a scan before any frame header: nothing decodes that.
    else if (marker >= 0xd8 && marker <= 0xda) return null;
    else if (isFrameHeader(marker)) return yield* frameSize(at + 2, segment.getUint16(2));
    else if (segment.getUint16(2) < 2) return null;
    else at += 2 + segment.getUint16(2);
  }
}

/** RSTn and TEM have no length; 0xff00 is no marker at all, only an escaped 0xff in stray data. */
function standsAlone(marker: number): boolean {
  return marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd7);
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
