import { isobmffSize } from './image-isobmff.ts';
import { jpegSize } from './image-jpeg.ts';
import { bmpSize, gifSize, pngSize, webpSize } from './image-simple.ts';
import { fourLetters, type Size, type Steps, view } from './image-steps.ts';
import { tiffSize } from './image-tiff.ts';

export type ImageFormat = 'jpg' | 'png' | 'gif' | 'webp' | 'avif' | 'heic' | 'heif' | 'tiff' | 'bmp';

/** What the first bytes prove: a format, and its registered media type. */
export type ImageKind = { format: ImageFormat; contentType: string };

type Signature = { bytes: string; kind: ImageKind | 'by-compatible-brands'; size: () => Steps<Size | null> };

/** A kind, and the parser that finds the size in a file of this kind. */
export type Recognised = { kind: ImageKind; size: () => Steps<Size | null> };

const kindOf = (format: ImageFormat, contentType: string): ImageKind => ({ format, contentType });

const heic = kindOf('heic', 'image/heic');
const heif = kindOf('heif', 'image/heif');
const avif = kindOf('avif', 'image/avif');
const tiff = kindOf('tiff', 'image/tiff');
const bmp = kindOf('bmp', 'image/bmp');

/** Sequences (burst, live, animated) are of the kind of their still image: whoever takes one takes the other. */
const brands: Readonly<Record<string, ImageKind>> = {
  ...Object.fromEntries(['heic', 'heix', 'heim', 'heis', 'hevc', 'hevx', 'hevm', 'hevs'].map((brand) => [brand, heic])),
  ...Object.fromEntries(['avif', 'avis'].map((brand) => [brand, avif])),
};

/** HEIF brands that leave the codec open: the list of compatible brands says which it is. */
const openBrands: readonly string[] = ['mif1', 'mif2', 'msf1', 'miaf', 'MiHB', 'MiHE', 'MA1A', 'MA1B'];

/** `?` stands for any byte. A `BM` alone would take every text that begins so; the length of the header behind it is telling. */
const signatures: readonly Signature[] = [
  { bytes: '\xff\xd8\xff', kind: kindOf('jpg', 'image/jpeg'), size: jpegSize },
  { bytes: '\x89PNG\r\n\x1a\n', kind: kindOf('png', 'image/png'), size: pngSize },
  { bytes: 'GIF87a', kind: kindOf('gif', 'image/gif'), size: gifSize },
  { bytes: 'GIF89a', kind: kindOf('gif', 'image/gif'), size: gifSize },
  { bytes: 'RIFF????WEBP', kind: kindOf('webp', 'image/webp'), size: webpSize },
  ...['II*\0', 'MM\0*', 'II+\0', 'MM\0+'].map((bytes) => ({ bytes, kind: tiff, size: tiffSize })),
  ...[12, 16, 40, 52, 56, 64, 108, 124].map((length) => ({
    bytes: `BM????????????${String.fromCharCode(length)}\0\0\0`,
    kind: bmp,
    size: bmpSize,
  })),
  ...Object.entries(brands).map(([brand, kind]) => ({ bytes: `\0\0??ftyp${brand}`, kind, size: isobmffSize })),
  ...openBrands.map((brand) => ({
    bytes: `\0\0??ftyp${brand}`,
    kind: 'by-compatible-brands' as const,
    size: isobmffSize,
  })),
];

/** Looks at one byte after the other, so that what is no image is known to be none at the first byte that proves it. */
export function* recognise(): Steps<Recognised | null> {
  let left = signatures;
  for (let at = 0; left.length > 0; at += 1) {
    const byte = (yield* view(at, 1)).getUint8(0);
    left = left.filter(({ bytes }) => bytes[at] === '?' || bytes.charCodeAt(at) === byte);
    const match = left.find(({ bytes }) => bytes.length === at + 1);
    if (match)
      return { kind: match.kind === 'by-compatible-brands' ? yield* kindByBrands() : match.kind, size: match.size };
  }
  return null;
}

/** ISO/IEC 14496-12 section 4.3: behind the major brand and its version, `ftyp` lists what the file is compatible with. */
function* kindByBrands(): Steps<ImageKind> {
  const end = (yield* view(0, 4)).getUint32(0);
  for (let at = 16; at + 4 <= end; at += 4) {
    const kind = brands[fourLetters(yield* view(at, 4), 0)];
    if (kind) return kind;
  }
  return heif;
}
