/** A small valid header, and what must be found in it. */
export type Sample = {
  name: string;
  bytes: Uint8Array;
  format: string;
  contentType: string;
  width: number | null;
  height: number | null;
};

type Shape = { width: number; height: number };

const text = (value: string) => Buffer.from(value, 'latin1');
const u8 = (...values: number[]) => Buffer.from(values);

function integer(bytes: number, little: boolean, value: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 8 && little) buffer.writeBigUInt64LE(BigInt(value));
  else if (bytes === 8) buffer.writeBigUInt64BE(BigInt(value));
  else if (little) buffer.writeUIntLE(value, 0, bytes);
  else buffer.writeUIntBE(value, 0, bytes);
  return buffer;
}

const be16 = (value: number) => integer(2, false, value);
const be32 = (value: number) => integer(4, false, value);
const le16 = (value: number) => integer(2, true, value);
const le32 = (value: number) => integer(4, true, value);

// JPEG

const segment = (marker: number, body: Uint8Array) => Buffer.concat([u8(0xff, marker), be16(body.length + 2), body]);

/** `before` goes between SOI and the frame header; `frame` is the marker: 0xc0 baseline, 0xc2 progressive. */
export function jpeg({ width, height }: Shape, before: Uint8Array = u8(), frame = 0xc0): Buffer {
  const sof = segment(frame, Buffer.concat([u8(8), be16(height), be16(width), u8(1, 1, 0x11, 0)]));
  const scan = segment(0xda, u8(1, 1, 0, 0, 63, 0));
  return Buffer.concat([u8(0xff, 0xd8), before, sof, scan, u8(0x12, 0x34, 0xff, 0xd9)]);
}

const jfif = segment(0xe0, Buffer.concat([text('JFIF\0'), u8(1, 1, 0), be16(72), be16(72), u8(0, 0)]));

/** An APP1 of the largest length, with a whole JPEG of another size inside, as EXIF thumbnails are. */
const fullExif = segment(
  0xe1,
  Buffer.concat([text('Exif\0\0'), jpeg({ width: 160, height: 120 }), Buffer.alloc(65_533)]).subarray(0, 65_533),
);

// PNG, GIF, WebP, BMP

export function png({ width, height }: Shape): Buffer {
  const ihdr = Buffer.concat([text('IHDR'), be32(width), be32(height), u8(8, 6, 0, 0, 0), be32(0x12345678)]);
  return Buffer.concat([text('\x89PNG\r\n\x1a\n'), be32(13), ihdr, be32(0), text('IEND'), be32(0xae426082)]);
}

export function gif({ width, height }: Shape, version = '89a'): Buffer {
  return Buffer.concat([
    text(`GIF${version}`),
    le16(width),
    le16(height),
    u8(0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x3b),
  ]);
}

function webp(chunk: string, body: Buffer): Buffer {
  return Buffer.concat([text('RIFF'), le32(body.length + 12), text(`WEBP${chunk}`), le32(body.length), body]);
}

export function webpLossy({ width, height }: Shape): Buffer {
  return webp('VP8 ', Buffer.concat([u8(0x10, 0, 0, 0x9d, 0x01, 0x2a), le16(width), le16(height), u8(1, 2, 3, 4)]));
}

function webpLossless({ width, height }: Shape): Buffer {
  return webp('VP8L', Buffer.concat([u8(0x2f), le32((((height - 1) << 14) | (width - 1)) >>> 0), u8(1, 2, 3)]));
}

export function webpExtended({ width, height }: Shape): Buffer {
  const sizes = [integer(3, true, width - 1), integer(3, true, height - 1)];
  return webp('VP8X', Buffer.concat([u8(0x10, 0, 0, 0), ...sizes, text('ICCP'), le32(4), u8(1, 2, 3, 4)]));
}

export function bmp({ width, height }: Shape, headerLength = 40): Buffer {
  const sizes = headerLength === 12 ? [le16(width), le16(height)] : [le32(width >>> 0), le32(height >>> 0)];
  const header = Buffer.concat([le32(headerLength), ...sizes, le16(1), le16(24), Buffer.alloc(headerLength)]);
  const offset = 14 + headerLength;
  return Buffer.concat([
    text('BM'),
    le32(offset + 4),
    le32(0),
    le32(offset),
    header.subarray(0, headerLength),
    u8(1, 2, 3, 4),
  ]);
}

// TIFF

type TiffOptions = { little?: boolean; big?: boolean; gap?: number; preview?: Shape };

/** `gap` bytes of pixels come before the directory; with `preview` the first directory is one, and a SubIFD the image. */
export function tiff(shape: Shape, { little = true, big = false, gap = 0, preview }: TiffOptions = {}): Buffer {
  const wide = big ? 8 : 4;
  const n = (bytes: number, value: number) => integer(bytes, little, value);
  const entry = (tag: number, value: number) =>
    Buffer.concat([n(2, tag), n(2, 4), n(wide, 1), n(4, value), Buffer.alloc(wide - 4)]);
  const directory = (...entries: Buffer[]) => Buffer.concat([n(big ? 8 : 2, entries.length), ...entries, n(wide, 0)]);
  const start = (big ? 16 : 8) + gap;
  const main = directory(entry(254, 0), entry(256, shape.width), entry(257, shape.height), entry(259, 1));
  const order = text(little ? 'II' : 'MM');
  const magic = big ? [n(2, 43), n(2, 8), n(2, 0), n(8, start)] : [n(2, 42), n(4, start)];
  const head = Buffer.concat([order, ...magic, Buffer.alloc(gap, 0x55)]);
  if (!preview) return Buffer.concat([head, main]);
  const size = directory(entry(254, 1), entry(256, 0), entry(257, 0), entry(330, 0)).length;
  const first = directory(
    entry(254, 1),
    entry(256, preview.width),
    entry(257, preview.height),
    entry(330, start + size),
  );
  return Buffer.concat([head, first, main]);
}

// HEIF and AVIF

const box = (type: string, ...body: Uint8Array[]) => {
  const content = Buffer.concat(body);
  return Buffer.concat([be32(content.length + 8), text(type), content]);
};
const fullBox = (type: string, version: number, flags: number, ...body: Uint8Array[]) =>
  box(type, u8(version, 0, 0, flags), ...body);
const ispe = ({ width, height }: Shape) => fullBox('ispe', 0, 0, be32(width), be32(height));
export const ftyp = (major: string, ...compatible: string[]) =>
  box('ftyp', text(major), be32(0), text(compatible.join('')));

type Item = { id: number; properties: number[] };

function ipma(items: Item[], wide: boolean): Buffer {
  const id = wide ? be32 : be16;
  const index = (value: number) => (wide ? be16(0x8000 | value) : u8(0x80 | value));
  const entries = items.flatMap((item) => [id(item.id), u8(item.properties.length), ...item.properties.map(index)]);
  return fullBox('ipma', wide ? 1 : 0, wide ? 1 : 0, be32(items.length), ...entries);
}

type MetaOptions = { wide?: boolean; primary?: boolean; associated?: boolean };

/** As an iPhone writes it: tiles of 512×512, the grid (item 49, primary), a thumbnail, and properties of other kinds. */
function gridMeta(shape: Shape, { wide = false, primary = true, associated = true }: MetaOptions = {}): Buffer {
  const tiles = Array.from({ length: 12 }, (_, nth) => ({ id: nth + 1, properties: [1, 2] }));
  const items = [...tiles, { id: 49, properties: [3, 4, 5] }, { id: 50, properties: [1, 6] }];
  const hvcC = box('hvcC', u8(1, 2, 3, 4, 5));
  const colr = box('colr', text('prof'), Buffer.alloc(40, 7));
  const thumbnail = { width: 320, height: 240 };
  const ipco = box(
    'ipco',
    hvcC,
    ispe({ width: 512, height: 512 }),
    colr,
    ispe(shape),
    box('irot', u8(1)),
    ispe(thumbnail),
  );
  return fullBox(
    'meta',
    0,
    0,
    fullBox('hdlr', 0, 0, be32(0), text('pict'), Buffer.alloc(13)),
    ...(primary ? [wide ? fullBox('pitm', 1, 0, be32(49)) : fullBox('pitm', 0, 0, be16(49))] : []),
    box('iprp', ipco, ...(associated ? [ipma(items, wide)] : [])),
    box('idat', Buffer.alloc(8)),
  );
}

/** `late`: `meta` behind the pixels; `large`: their length in 64 bits; `open`: `meta` without a length, to the end. */
export function heic(
  shape: Shape,
  options: MetaOptions & { late?: boolean; large?: boolean; open?: boolean } = {},
): Buffer {
  const pixels = Buffer.alloc(300, 0xaa);
  const mdat = options.large
    ? Buffer.concat([be32(1), text('mdat'), integer(8, false, pixels.length + 16), pixels])
    : box('mdat', pixels);
  const meta = gridMeta(shape, options);
  if (options.open) meta.writeUInt32BE(0);
  return Buffer.concat([ftyp('heic', 'mif1', 'heic'), ...(options.late ? [mdat, meta] : [meta, mdat])]);
}

export function avif({ width, height }: Shape): Buffer {
  const ipco = box('ipco', ispe({ width, height }), box('av1C', u8(0x81, 0, 0, 0)));
  const iprp = box('iprp', ipco, ipma([{ id: 1, properties: [1, 2] }], false));
  return Buffer.concat([
    ftyp('avif', 'avif', 'mif1', 'miaf'),
    fullBox('meta', 0, 0, fullBox('pitm', 0, 0, be16(1)), iprp),
  ]);
}

/** One of every format and every way it is written, none above 1 KiB but the one with a full EXIF segment. */
export function samples(): Sample[] {
  const shape = { width: 300, height: 200 };
  const make = (format: string, contentType: string, files: Record<string, Uint8Array>, size: object = shape) =>
    Object.entries(files).map(([name, bytes]) => ({ name, bytes, format, contentType, ...shape, ...size }));
  const meta = gridMeta(shape);
  return [
    ...make('jpg', 'image/jpeg', {
      jpeg: jpeg(shape, jfif),
      'jpeg, progressive': jpeg(shape, jfif, 0xc2),
      'jpeg, tables first': jpeg(
        shape,
        Buffer.concat([segment(0xdb, Buffer.alloc(65)), segment(0xc4, Buffer.alloc(20))]),
      ),
      'jpeg, fill bytes and a comment': jpeg(shape, Buffer.concat([u8(0xff, 0xff), segment(0xfe, text('hello'))])),
      'jpeg, stray bytes': jpeg(shape, Buffer.concat([jfif, u8(0, 0, 0x7f, 0xff, 0, 1)])),
      'jpeg, full EXIF with a thumbnail': jpeg(shape, fullExif),
    }),
    ...make(
      'jpg',
      'image/jpeg',
      { 'jpeg, height told later': jpeg({ width: 300, height: 0 }, jfif) },
      { height: null },
    ),
    ...make('png', 'image/png', { png: png(shape) }),
    ...make('gif', 'image/gif', { gif87: gif(shape, '87a'), gif89: gif(shape) }),
    ...make(
      'gif',
      'image/gif',
      { 'gif without a screen': gif({ width: 0, height: 0 }) },
      { width: null, height: null },
    ),
    ...make('webp', 'image/webp', {
      'webp, lossy': webpLossy(shape),
      'webp, lossy and scaled': webpLossy({ width: 0x4000 | shape.width, height: 0x8000 | shape.height }),
      'webp, lossless': webpLossless(shape),
      'webp, extended': webpExtended(shape),
    }),
    ...make('bmp', 'image/bmp', {
      'bmp, core': bmp(shape, 12),
      bmp: bmp(shape),
      'bmp, version 5': bmp(shape, 124),
      'bmp, from the top': bmp({ width: 300, height: -200 }),
    }),
    ...make('tiff', 'image/tiff', {
      'tiff, little-endian': tiff(shape),
      'tiff, big-endian': tiff(shape, { little: false }),
      'tiff, directory last': tiff(shape, { gap: 500 }),
      bigtiff: tiff(shape, { big: true }),
      'bigtiff, big-endian': tiff(shape, { big: true, little: false }),
      'tiff, preview first': tiff(shape, { preview: { width: 16, height: 12 } }),
    }),
    ...make('heic', 'image/heic', {
      'heic, grid': heic(shape),
      'heic, wide ids': heic(shape, { wide: true }),
      'heic, meta last': heic(shape, { late: true }),
      'heic, meta to the end': heic(shape, { late: true, open: true }),
      'heic, meta behind a 64-bit box': heic(shape, { late: true, large: true }),
      'heic, open brand': Buffer.concat([ftyp('mif1', 'mif1', 'heic'), meta]),
    }),
    ...make(
      'heic',
      'image/heic',
      {
        'heic, no primary item': heic(shape, { primary: false }),
        'heic, nothing associated': heic(shape, { associated: false }),
      },
      { width: 512, height: 512 },
    ),
    ...make('heif', 'image/heif', { 'heif, other codec': Buffer.concat([ftyp('mif1', 'mif1', 'jpeg'), meta]) }),
    ...make('avif', 'image/avif', {
      avif: avif(shape),
      'avif, open brand': Buffer.concat([ftyp('mif1', 'avif'), meta]),
    }),
    ...make(
      'avif',
      'image/avif',
      { 'avif, sequence': Buffer.concat([ftyp('avis', 'avis', 'msf1'), box('moov', Buffer.alloc(40))]) },
      { width: null, height: null },
    ),
  ];
}
