import type { ImageFormat } from '../model/image-kinds.ts';
import { bmp, gif, png, webp } from './fixed-headers.ts';
import { heif } from './heif.ts';
import { jpeg } from './jpeg.ts';
import { cr3 } from './movie.ts';
import { fourLetters, type Known, type Measured, type Parser, type Steps, view } from './parser.ts';
import { raf } from './raf.ts';
import { firstDirectory, sensorBorders, sizeInExif, tiff, tiffFormats } from './tiff.ts';

/** How a file of these formats begins, and who reads on. */
type Signature = { bytes: string; formats: readonly ImageFormat[]; parser: Parser };

const signature = (bytes: string, formats: ImageFormat | readonly ImageFormat[], parser: Parser): Signature => ({
  bytes,
  formats: typeof formats === 'string' ? [formats] : formats,
  parser,
});

/** Sequences (burst, live, animated) are of the kind of their still image: whoever takes one takes the other. */
const brands: Readonly<Record<string, ImageFormat>> = {
  ...Object.fromEntries(
    ['heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'hevm', 'hevs'].map((brand) => [brand, 'heic']),
  ),
  ...Object.fromEntries(['avif', 'avis'].map((brand) => [brand, 'avif'])),
};

/** HEIF brands that leave the codec open: the list of compatible brands says which it is. */
const openBrands: readonly string[] = ['mif1', 'mif2', 'msf1', 'miaf', 'MiHB', 'MiHE', 'MA1A', 'MA1B'];

/** `?` stands for any byte. A `BM` alone would take every text that begins so; the length of the header behind it is telling. */
const signatures: readonly Signature[] = [
  signature('\xff\xd8\xff', 'jpg', jpeg),
  signature('\x89PNG\r\n\x1a\n', 'png', png),
  signature('GIF87a', 'gif', gif),
  signature('GIF89a', 'gif', gif),
  signature('RIFF????WEBP', 'webp', webp),
  signature('II*\0????CR', 'cr2', sizeInExif),
  ...['II*\0????IIII', 'MM\0*????MMMM'].map((bytes) => signature(bytes, 'iiq', sizeInExif)),
  ...['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].map((bytes) => signature(bytes, tiffFormats, tiff)),
  ...['IIRO', 'IIRS', 'MMOR'].map((bytes) => signature(bytes, 'orf', firstDirectory)),
  signature('IIU\0', 'rw2', sensorBorders),
  signature('FUJIFILMCCD-RAW ', 'raf', raf),
  ...[12, 16, 40, 52, 56, 64, 108, 124].map((length) =>
    signature(`BM????????????${String.fromCharCode(length)}\0\0\0`, 'bmp', bmp),
  ),
  ...Object.entries(brands).map(([brand, format]) => signature(`\0\0??ftyp${brand}`, format, heif)),
  ...openBrands.map((brand) => signature(`\0\0??ftyp${brand}`, ['heic', 'avif', 'heif'], byCompatibleBrands)),
  signature('\0\0??ftypcrx ', 'cr3', cr3),
];

/**
 * Finds out which formats the file can be of, and who reads on; null for a file that is none of them. It looks at one byte
 * after the other, so that what is no image is known to be none at the first byte that proves it. A longer signature goes
 * before a shorter one: some raw files begin like any TIFF.
 */
export function* recognise(known: Known): Steps<Parser | null> {
  let open = signatures;
  let found: Signature | null = null;
  for (let at = 0; ; at += 1) {
    const byte = (yield* view(at, 1)).getUint8(0);
    open = open.filter(({ bytes }) => bytes[at] === '?' || bytes.charCodeAt(at) === byte);
    found = open.find(({ bytes }) => bytes.length === at + 1) ?? found;
    open = open.filter(({ bytes }) => bytes.length > at + 1);
    if (found) known.formats = [found, ...open].flatMap(({ formats }) => formats);
    if (open.length === 0) return found?.parser ?? null;
  }
}

/** ISO/IEC 14496-12 section 4.3: behind the major brand and its version, `ftyp` lists what the file is compatible with. */
function* byCompatibleBrands(known: Known): Steps<Measured | null> {
  known.formats = [yield* compatibleFormat()];
  return yield* heif(known);
}

function* compatibleFormat(): Steps<ImageFormat> {
  const end = (yield* view(0, 4)).getUint32(0);
  for (let at = 16; at + 4 <= end; at += 4) {
    const format = brands[fourLetters(yield* view(at, 4), 0)];
    if (format) return format;
  }
  return 'heif';
}
