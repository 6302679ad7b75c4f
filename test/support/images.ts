import { deflateSync } from 'node:zlib';
import {
  be16,
  bitWriter,
  gifBlocks,
  gifComment,
  jpegComments,
  jpegScan,
  jpegSegment,
  le16,
  le24,
  le32,
  noise,
  padded,
  pngChunk,
  riffChunk,
} from './image-parts.ts';

export type ImageOptions = {
  width?: number;
  height?: number;
  /** Size of the whole file; default: as small as it gets. A size that cannot be met throws a RangeError. */
  bytes?: number;
  /** Images of the same format, size and seed are the same bytes; another seed changes pixels and padding. */
  seed?: number;
};
type Drawn = Required<Omit<ImageOptions, 'bytes'>>;

/** Every format made here, by its Cloudinary name. The files are whole images, which any decoder shows. */
export const imageMakers = { jpg: jpeg, png, gif, webp, bmp, tiff } as const;

/** Grey noise, one byte a pixel; padded by a private ancillary chunk. */
export function png(options: ImageOptions = {}): Buffer {
  const drawn = defaults(options);
  const { width, height } = drawn;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.writeUInt8(8, 8);
  const rows = Array.from({ length: height }, (_, y) => Buffer.concat([Buffer.of(0), noise(width, drawn.seed + y)]));
  const image = Buffer.concat([pngChunk('IHDR', header), pngChunk('IDAT', deflateSync(Buffer.concat(rows)))]);
  const pad = (bytes: number) => pngChunk('hpAd', noise(bytes, drawn.seed));
  return padded(options.bytes, 12, [Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), image], pad, [pngChunk('IEND')]);
}

export type JpegOptions = ImageOptions & {
  /** Where padding goes: after the frame header (default), or before it, where a reader of the size must pass it. */
  padding?: 'after-frame' | 'before-frame';
  /** The EXIF orientation, 1 to 8; default: no EXIF. */
  orientation?: number;
};

/** Baseline grey blocks of 8 × 8, each of one shade; padded by comment segments. */
export function jpeg(options: JpegOptions = {}): Buffer {
  const drawn = defaults(options);
  const frame = jpegSegment(0xc0, [8, ...be16(drawn.height), ...be16(drawn.width), 1, 1, 0x11, 0]);
  const start = [
    Buffer.of(0xff, 0xd8),
    jpegSegment(0xe0, [...Buffer.from('JFIF\0'), 1, 1, 0, 0, 1, 0, 1, 0, 0]),
    ...(options.orientation === undefined ? [] : [exif(options.orientation)]),
    jpegSegment(0xdb, [0, ...Array<number>(64).fill(8)]),
  ];
  const end = [
    // DC: the categories 0 to 8 as codes of four bits. AC: the end of a block as code `0`, and nothing else.
    jpegSegment(0xc4, [0x00, 0, 0, 0, 9, ...Array<number>(12).fill(0), 0, 1, 2, 3, 4, 5, 6, 7, 8]),
    jpegSegment(0xc4, [0x10, 1, ...Array<number>(15).fill(0), 0]),
    jpegSegment(0xda, [1, 1, 0x00, 0, 63, 0]),
    jpegScan(drawn),
    Buffer.of(0xff, 0xd9),
  ];
  const pad = (bytes: number) => jpegComments(bytes, drawn.seed);
  if (options.padding === 'before-frame') return padded(options.bytes, 4, start, pad, [frame, ...end]);
  return padded(options.bytes, 4, [...start, frame], pad, end);
}

/** An APP1 segment with a TIFF of one entry. */
function exif(orientation: number): Buffer {
  const header = [...Buffer.from('Exif\0\0II*\0'), ...le32(8), ...le16(1)];
  return jpegSegment(0xe1, [...header, ...le16(274), ...le16(3), ...le32(1), ...le32(orientation), ...le32(0)]);
}

/** 128 shades of grey, the codes never compressed; padded by a comment extension. */
function gif(options: ImageOptions = {}): Buffer {
  const drawn = defaults(options);
  const { width, height } = drawn;
  const screen = [...Buffer.from('GIF89a'), ...le16(width), ...le16(height), 0xf6, 0, 0];
  const palette = Buffer.from(Array.from({ length: 128 }, (_, shade) => [shade * 2, shade * 2, shade * 2]).flat());
  const pixels = noise(width * height, drawn.seed).map((byte) => byte & 0x7f);
  const codes: number[] = [];
  // A clear code (128) before the table grows past 8-bit codes, every 120 pixels, keeps each code one byte; 129 ends.
  for (const [index, pixel] of pixels.entries()) codes.push(...(index % 120 === 0 ? [128] : []), pixel);
  const data = gifBlocks(Buffer.from([...codes, 129]));
  const image = Buffer.concat([Buffer.of(0x2c, 0, 0, 0, 0, ...le16(width), ...le16(height), 0, 7), data]);
  const pad = (bytes: number) => Buffer.concat([Buffer.of(0x21, 0xfe), gifComment(bytes, drawn.seed)]);
  return padded(options.bytes, 5, [Buffer.from(screen), palette], pad, [image, Buffer.of(0x3b)]);
}

/** A single lossless colour, padded by an unknown chunk. A RIFF file has an even number of bytes. */
export function webp(options: ImageOptions = {}): Buffer {
  const drawn = defaults(options);
  const [red = 0, green = 0, blue = 0] = noise(3, drawn.seed);
  const bits = bitWriter();
  for (const [value, width] of [
    [drawn.width - 1, 14],
    [drawn.height - 1, 14],
    // No alpha, version 0, no transform, no colour cache, no meta prefix codes.
    [0, 1 + 3 + 1 + 1 + 1],
  ] as const) {
    bits.low(value, width);
  }
  // Five prefix codes of a single symbol each, which then takes no bits per pixel: `1` simple, `0` one symbol, `1` of 8 bits.
  for (const symbol of [green, red, blue, 255, 0]) bits.low(0b101 | (symbol << 3), 11);
  const canvas = [0, 0, 0, 0, ...le24(drawn.width - 1), ...le24(drawn.height - 1)];
  const chunks = [riffChunk('VP8X', Buffer.from(canvas)), riffChunk('VP8L', Buffer.of(0x2f, ...bits.bytes()))];
  const pad = (bytes: number) => riffChunk('hpad', noise(bytes, drawn.seed));
  const file = padded(options.bytes, 8, [Buffer.from('RIFF\0\0\0\0WEBP'), ...chunks], pad, []);
  if (options.bytes !== undefined && file.length !== options.bytes) throw new RangeError('A WebP has an even size');
  file.writeUInt32LE(file.length - 8, 4);
  return file;
}

/** 24-bit noise; padded between the header and the pixels, where the header says how far they are. */
function bmp(options: ImageOptions = {}): Buffer {
  const drawn = defaults(options);
  const rowBytes = Math.ceil((drawn.width * 3) / 4) * 4;
  const header = Buffer.alloc(54);
  const file = padded(options.bytes, 0, [header], (bytes) => noise(bytes, drawn.seed), [
    ...Array.from({ length: drawn.height }, (_, y) =>
      Buffer.concat([noise(drawn.width * 3, drawn.seed + y)], rowBytes),
    ),
  ]);
  file.write('BM');
  file.writeUInt32LE(file.length, 2);
  file.writeUInt32LE(file.length - rowBytes * drawn.height, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(drawn.width, 18);
  file.writeInt32LE(drawn.height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  return file;
}

/** Uncompressed grey noise, little-endian, its directory at the end of the file, the padding before it. */
function tiff(options: ImageOptions = {}): Buffer {
  const drawn = defaults(options);
  const pixels = noise(drawn.width * drawn.height, drawn.seed);
  const pixelsAt = 8;
  // Bits per sample, compression, photometric interpretation and samples per pixel are shorts by the specification.
  const shorts: number[] = [258, 259, 262, 277];
  const entries = (
    [
      [256, drawn.width],
      [257, drawn.height],
      [258, 8],
      [259, 1],
      [262, 1],
      [273, pixelsAt],
      [277, 1],
      [278, drawn.height],
      [279, pixels.length],
    ] as const
  ).flatMap(([tag, value]) => [...le16(tag), ...le16(shorts.includes(tag) ? 3 : 4), ...le32(1), ...le32(value)]);
  const directory = Buffer.of(...le16(9), ...entries, ...le32(0));
  const file = padded(options.bytes, 0, [Buffer.from('II*\0\0\0\0\0'), pixels], (bytes) => noise(bytes, drawn.seed), [
    directory,
  ]);
  file.writeUInt32LE(file.length - directory.length, 4);
  return file;
}

function defaults({ width = 16, height = 16, seed = 1 }: ImageOptions): Drawn {
  return { width, height, seed };
}
