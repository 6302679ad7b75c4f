import { isOrientation, type Orientation } from '../model/image-facts.ts';
import { type Steps, viewIfThere } from './parser.ts';
import { numberOf, readDirectory, tags, tiffHeader } from './tiff-directory.ts';

/** Exif 3.0 section 4.7.2: an APP1 segment of a JPEG begins so, and some writers of WebP and PNG begin so too. */
const prefix = 'Exif\0\0';

/**
 * The orientation that EXIF within these bytes says. Careless programs leave EXIF in every state of repair, and none of
 * them costs the image: whatever does not read as a directory says nothing.
 *
 * @param prefixed whether the bytes are EXIF only with its prefix, as in a JPEG
 */
export function* exifOrientation(start: number, end: number, prefixed = false): Steps<Orientation | null> {
  const begins = end - start < prefix.length ? null : yield* viewIfThere(start, prefix.length);
  if (!begins) return null;
  const hasPrefix = Array.from(prefix).every((letter, at) => begins.getUint8(at) === letter.charCodeAt(0));
  if (prefixed && !hasPrefix) return null;
  const base = hasPrefix ? start + prefix.length : start;
  const header = yield* tiffHeader({ base, end, optional: true });
  const directory = header && (yield* readDirectory(header.tiff, header.first));
  const value = header && directory && numberOf(header.tiff, directory, tags.orientation);
  return isOrientation(value) ? value : null;
}
