/** A small valid header, and what must be found in it. */
export type Sample = {
  name: string;
  bytes: Uint8Array;
  format: string;
  contentType: string;
  width: number | null;
  height: number | null;
  orientation: number | null;
  displayWidth: number | null;
  displayHeight: number | null;
  /** Bytes of the header without what an image can do without; where there is nothing like that, none. */
  needed?: number;
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

// EXIF

/** The smallest EXIF that says how a picture is turned; `prefix` is what a JPEG has before it. */
function exif(orientation: number, { little = true, prefix = true, at = 8 } = {}): Buffer {
  const n = (bytes: number, value: number) => integer(bytes, little, value);
  const entry = [n(2, 274), n(2, 3), n(4, 1), n(2, orientation), n(2, 0)];
  const body = [text(little ? 'II' : 'MM'), n(2, 42), n(4, at), n(2, 1), ...entry, n(4, 0)];
  return Buffer.concat([text(prefix ? 'Exif\0\0' : ''), ...body]);
}
const app1 = (body: Uint8Array) => segment(0xe1, body);
const xmp = app1(text('http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>'));

/** An APP1 of the largest length, with a whole JPEG of another size inside, as EXIF thumbnails are. */
const fullExif = segment(
  0xe1,
  Buffer.concat([text('Exif\0\0'), jpeg({ width: 160, height: 120 }), Buffer.alloc(65_533)]).subarray(0, 65_533),
);

// PNG, GIF, WebP, BMP

/** `between` goes between IHDR and IEND. */
export function png({ width, height }: Shape, between: Uint8Array = u8()): Buffer {
  const ihdr = Buffer.concat([text('IHDR'), be32(width), be32(height), u8(8, 6, 0, 0, 0), be32(0x12345678)]);
  const end = [be32(0), text('IEND'), be32(0xae426082)];
  return Buffer.concat([text('\x89PNG\r\n\x1a\n'), be32(13), ihdr, between, ...end]);
}

const pngChunk = (type: string, data: Uint8Array) =>
  Buffer.concat([be32(data.length), text(type), data, be32(0x12345678)]);

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

/** With EXIF as the specification wants it: announced in the flags, behind the pixels. */
export function webpExtended({ width, height }: Shape, exif?: Uint8Array): Buffer {
  const sizes = [integer(3, true, width - 1), integer(3, true, height - 1)];
  const head = [le32(10), u8(exif ? 0x18 : 0x10, 0, 0, 0), ...sizes];
  const chunk = (type: string, data: Uint8Array) =>
    Buffer.concat([text(type), le32(data.length), data, u8(...Array<number>(data.length % 2).fill(0))]);
  const chunks = [chunk('ICCP', u8(1, 2, 3)), chunk('VP8 ', Buffer.alloc(31)), ...(exif ? [chunk('EXIF', exif)] : [])];
  const body = Buffer.concat([text('WEBPVP8X'), ...head, ...chunks]);
  return Buffer.concat([text('RIFF'), le32(body.length), body]);
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

type TiffOptions = {
  little?: boolean;
  big?: boolean;
  gap?: number;
  preview?: Shape;
  /** More entries of the first directory, and of the SubIFD, where there is one; both by their tags. */
  first?: Record<number, number | string>;
  sub?: Record<number, number | string>;
  /** The eight bytes before the first offset, where they are not those of a TIFF. */
  mark?: string;
  /** Bytes between the header and the first directory. */
  signature?: string;
};

/** `gap` bytes of pixels come before the directory; with `preview` the first directory is one, and a SubIFD the image. */
export function tiff(shape: Shape, options: TiffOptions = {}): Buffer {
  const { little = true, big = false, gap = 0, preview, first = {}, sub = {}, mark, signature = '' } = options;
  const wide = big ? 8 : 4;
  const n = (bytes: number, value: number) => integer(bytes, little, value);
  const start = (big ? 16 : 8) + gap + signature.length;
  /** Where it is counts for texts, which lie behind the entries. */
  const directory = (at: number, entries: Record<number, number | string>): Buffer => {
    const listed = Object.entries(entries).map(([tag, value]) => [Number(tag), value] as const);
    let textsAt = at + (big ? 8 : 2) + listed.length * (big ? 20 : 12) + wide;
    const texts: Buffer[] = [];
    const packed = listed.map(([tag, value]) => {
      const bytes = typeof value === 'string' ? text(`${value}\0`) : null;
      if (!bytes) return Buffer.concat([n(2, tag), n(2, 4), n(wide, 1), n(4, Number(value)), Buffer.alloc(wide - 4)]);
      texts.push(bytes);
      textsAt += bytes.length;
      return Buffer.concat([n(2, tag), n(2, 2), n(wide, bytes.length), n(wide, textsAt - bytes.length)]);
    });
    return Buffer.concat([n(big ? 8 : 2, listed.length), ...packed, n(wide, 0), ...texts]);
  };
  const order = text(little ? 'II' : 'MM');
  const magic = big ? [n(2, 43), n(2, 8), n(2, 0), n(8, start)] : [n(2, 42), n(4, start)];
  const opening = mark ? [text(mark), n(4, start)] : [order, ...magic];
  const head = Buffer.concat([...opening, text(signature), Buffer.alloc(gap, 0x55)]);
  const full = { 254: 0, 256: shape.width, 257: shape.height, 259: 1 };
  if (!preview) return Buffer.concat([head, directory(start, { ...full, ...first })]);
  const reduced = { 254: 1, 256: preview.width, 257: preview.height, 330: 0, ...first };
  const subAt = start + directory(start, reduced).length;
  return Buffer.concat([head, directory(start, { ...reduced, 330: subAt }), directory(subAt, { ...full, ...sub })]);
}

// RAW

const thumbnail = { width: 160, height: 120 };
const sensor = { 262: 32803 };

/** As most cameras write one: a TIFF with a thumbnail, and the sensor's picture in a SubIFD. */
const rawTiff = (shape: Shape, make: string, first: Record<number, number> = {}, little = true) =>
  tiff(shape, { little, preview: thumbnail, first: { 271: make, 274: 8, ...first }, sub: sensor });

/** The size is in EXIF, whose directory follows the first one. */
function rawWithExif(shape: Shape, mark: string): Buffer {
  const size = tiff(thumbnail, { signature: mark, first: { 274: 8, 34665: 0 } }).length;
  const whole = tiff(thumbnail, { signature: mark, first: { 274: 8, 34665: size } });
  const entry = (tag: number, value: number) => Buffer.concat([le16(tag), le16(4), le32(1), le32(value)]);
  return Buffer.concat([whole, le16(2), entry(0xa002, shape.width), entry(0xa003, shape.height), le32(0)]);
}

/** A border of the sensor around the picture. */
function rw2({ width, height }: Shape): Buffer {
  const borders = { 2: width + 76, 3: height + 18, 4: 6, 5: 8, 6: height + 6, 7: width + 8, 274: 8 };
  return tiff(thumbnail, { mark: 'IIU\0', first: borders });
}

function raf({ width, height }: Shape): Buffer {
  const preview = Buffer.concat([u8(0xff, 0xd8), app1(exif(8)), u8(0xff, 0xd9)]);
  const record = (tag: number, ...shorts: number[]) =>
    Buffer.concat([be16(tag), be16(shorts.length * 2), ...shorts.map(be16)]);
  const records = [record(0x100, height + 20, width + 96), record(0x110, 10, 48), record(0x111, height, width)];
  const at = 148 + preview.length;
  const head = Buffer.concat([text('FUJIFILMCCD-RAW 0201FF392201'), Buffer.alloc(120)]).subarray(0, 148);
  head.writeUInt32BE(148, 84);
  head.writeUInt32BE(preview.length, 88);
  head.writeUInt32BE(at, 92);
  return Buffer.concat([head, preview, be32(records.length), ...records]);
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

const irot = (quarters: number) => box('irot', u8(quarters));
const imir = (axis: number) => box('imir', u8(axis));
/** Halves, as the width of a cropped picture may be written. */
const clap = ({ width, height }: Shape) =>
  box('clap', be32(width * 2), be32(2), be32(height * 2), be32(2), be32(0), be32(1), be32(0), be32(1));

/** As an iPhone writes it: tiles of 512×512, the grid (item 49, primary), a thumbnail, and properties of other kinds. */
function gridMeta(shape: Shape, { wide = false, primary = true, associated = true }: MetaOptions = {}): Buffer {
  const tiles = Array.from({ length: 12 }, (_, nth) => ({ id: nth + 1, properties: [1, 2] }));
  const items = [...tiles, { id: 49, properties: [3, 4, 5] }, { id: 50, properties: [1, 6] }];
  const hvcC = box('hvcC', u8(1, 2, 3, 4, 5));
  const colr = box('colr', text('prof'), Buffer.alloc(40, 7));
  const ipco = box('ipco', hvcC, ispe({ width: 512, height: 512 }), colr, ispe(shape), irot(1), ispe(thumbnail));
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

/** `changes` are properties of its only item, behind its size. */
export function avif({ width, height }: Shape, ...changes: Buffer[]): Buffer {
  const ipco = box('ipco', ispe({ width, height }), box('av1C', u8(0x81, 0, 0, 0)), ...changes);
  const properties = [1, 2, ...changes.map((_, nth) => nth + 3)];
  const iprp = box('iprp', ipco, ipma([{ id: 1, properties }], false));
  return Buffer.concat([
    ftyp('avif', 'avif', 'mif1', 'miaf'),
    fullBox('meta', 0, 0, fullBox('pitm', 0, 0, be16(1)), iprp),
  ]);
}

/** A picture that is only in a movie, beside a smaller track and one of sound. */
function sequence(shape: Shape, brand: string, version = 0, matrix = [1, 0, 0, 1]): Buffer {
  const fixed = (value: number) => be32((value * 0x10000) >>> 0);
  const [a = 0, b = 0, c = 0, d = 0] = matrix;
  const shown = [fixed(a), fixed(b), be32(0), fixed(c), fixed(d), be32(0), be32(0), be32(0), be32(0x4000_0000)];
  const track = ({ width, height }: Shape) => {
    const times = Buffer.alloc(version === 0 ? 20 : 32);
    const header = fullBox('tkhd', version, 7, times, Buffer.alloc(16), ...shown, fixed(width), fixed(height));
    return box('trak', header, box('mdia', Buffer.alloc(8)));
  };
  const tracks = [{ width: 0, height: 0 }, { width: 64, height: 48 }, shape, { width: 32, height: 24 }].map(track);
  return Buffer.concat([ftyp(brand, brand, 'msf1', 'hevc'), box('moov', fullBox('mvhd', 0, 0), ...tracks)]);
}

function cr3(shape: Shape): Buffer {
  const id = Buffer.from('85c0b687820f11e08111f4ce462b6a48', 'hex');
  const first = tiff(shape, { first: { 274: 8 } });
  const uuid = box('uuid', id, box('CNCV', text('CanonCR3')), box('CMT1', first), box('CMT2', Buffer.alloc(8)));
  return Buffer.concat([ftyp('crx ', 'crx ', 'isom'), box('moov', uuid, box('mvhd', Buffer.alloc(8)))]);
}

type Expected = Partial<Omit<Sample, 'name' | 'bytes' | 'format' | 'contentType'>>;

/** Every file of one format, 300 × 200 unless said otherwise, and shown as it is stored unless said otherwise. */
function make(
  format: string,
  contentType: string,
  files: Record<string, Uint8Array>,
  expected: Expected = {},
): Sample[] {
  const stored = { width: 300, height: 200, orientation: null, ...expected };
  const turned = (stored.orientation ?? 1) >= 5;
  const shown = turned ? [stored.height, stored.width] : [stored.width, stored.height];
  const facts = { ...stored, displayWidth: shown[0] ?? null, displayHeight: shown[1] ?? null, ...expected };
  return Object.entries(files).map(([name, bytes]) => ({ name, bytes, format, contentType, ...facts }));
}

const shape = { width: 300, height: 200 };
const crop = { width: 280, height: 180 };

/** One of every format and every way it is written, none above 1 KiB but the one with a full EXIF segment. */
export function samples(): Sample[] {
  return [...stills(), ...containers(), ...turnedSamples(), ...raws()];
}

function stills(): Sample[] {
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
    ...make('png', 'image/png', { png: png(shape) }, { needed: 33 }),
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
  ];
}

function containers(): Sample[] {
  const meta = gridMeta(shape);
  // As an iPhone does, the grid is turned.
  const turned = { orientation: 8 };
  return [
    ...make(
      'heic',
      'image/heic',
      {
        'heic, grid': heic(shape),
        'heic, wide ids': heic(shape, { wide: true }),
        'heic, meta last': heic(shape, { late: true }),
        'heic, meta to the end': heic(shape, { late: true, open: true }),
        'heic, meta behind a 64-bit box': heic(shape, { late: true, large: true }),
        'heic, open brand': Buffer.concat([ftyp('mif1', 'mif1', 'heic'), meta]),
      },
      turned,
    ),
    ...make(
      'heic',
      'image/heic',
      {
        'heic, no primary item': heic(shape, { primary: false }),
        'heic, nothing associated': heic(shape, { associated: false }),
      },
      { width: 512, height: 512 },
    ),
    ...make('heif', 'image/heif', { 'heif, other codec': Buffer.concat([ftyp('mif1', 'mif1', 'jpeg'), meta]) }, turned),
    ...make('avif', 'image/avif', { avif: avif(shape) }),
    ...make('avif', 'image/avif', { 'avif, open brand': Buffer.concat([ftyp('mif1', 'avif'), meta]) }, turned),
    ...make(
      'avif',
      'image/avif',
      { 'avif, sequence without tracks': Buffer.concat([ftyp('avis', 'avis', 'msf1'), box('moov', Buffer.alloc(40))]) },
      { width: null, height: null },
    ),
    ...make('heic', 'image/heic', {
      'heic, sequence': sequence(shape, 'hevc'),
      'heic, sequence of 64-bit times': sequence(shape, 'msf1', 1),
    }),
    ...make(
      'heic',
      'image/heic',
      { 'heic, sequence on its side': sequence(shape, 'hevc', 0, [0, 1, -1, 0]) },
      { orientation: 6 },
    ),
    ...make('avif', 'image/avif', { 'avif, sequence': sequence(shape, 'avis') }),
  ];
}

function turnedSamples(): Sample[] {
  const jpegs = { orientation: 6 };
  return [
    ...make(
      'jpg',
      'image/jpeg',
      {
        'jpeg, turned': jpeg(shape, app1(exif(6))),
        'jpeg, turned, big-endian': jpeg(shape, app1(exif(6, { little: false }))),
        'jpeg, turned, behind JFIF and XMP': jpeg(shape, Buffer.concat([jfif, xmp, app1(exif(6))])),
        'jpeg, turned, behind stray bytes': jpeg(shape, Buffer.concat([jfif, u8(0, 0, 0x7f), app1(exif(6))])),
        'jpeg, turned, the first EXIF counts': jpeg(shape, Buffer.concat([app1(exif(6)), app1(exif(3))])),
      },
      jpegs,
    ),
    ...make('jpg', 'image/jpeg', {
      'jpeg, EXIF of no directory': jpeg(shape, app1(exif(6, { at: 60_000 }))),
      'jpeg, EXIF cut off': jpeg(shape, app1(exif(6).subarray(0, 20))),
      'jpeg, EXIF of nothing': jpeg(shape, app1(text('Exif\0\0'))),
      'jpeg, EXIF of noise': jpeg(shape, app1(text('Exif\0\0Hello, this is no TIFF at all'))),
      'jpeg, orientation 9': jpeg(shape, app1(exif(9))),
      'jpeg, orientation 0': jpeg(shape, app1(exif(0))),
    }),
    ...make('jpg', 'image/jpeg', { 'jpeg, mirrored': jpeg(shape, app1(exif(2))) }, { orientation: 2 }),
    ...make(
      'png',
      'image/png',
      {
        'png, turned': png(
          shape,
          Buffer.concat([pngChunk('gAMA', be32(1)), pngChunk('eXIf', exif(8, { prefix: false }))]),
        ),
      },
      { orientation: 8, needed: 33 },
    ),
    ...make(
      'png',
      'image/png',
      {
        'png, EXIF behind the pixels': png(
          shape,
          Buffer.concat([pngChunk('IDAT', u8(1)), pngChunk('eXIf', exif(8, { prefix: false }))]),
        ),
      },
      { needed: 33 },
    ),
    ...make(
      'webp',
      'image/webp',
      {
        'webp, turned': webpExtended(shape, exif(5, { prefix: false })),
        'webp, turned, with the prefix of a JPEG': webpExtended(shape, exif(5)),
      },
      { orientation: 5, needed: 30 },
    ),
    ...make(
      'tiff',
      'image/tiff',
      {
        'tiff, turned': tiff(shape, { first: { 274: 7 } }),
        'bigtiff, turned': tiff(shape, { big: true, first: { 274: 7 } }),
      },
      { orientation: 7 },
    ),
    ...make('tiff', 'image/tiff', {
      'tiff, exported by a program that keeps the camera’s name': tiff(shape, { first: { 271: 'NIKON CORPORATION' } }),
    }),
    ...make(
      'tiff',
      'image/tiff',
      { 'tiff, SubIFDs that lead nowhere': tiff(shape, { first: { 330: 60_000 } }) },
      { needed: 70 },
    ),
    ...(
      [
        ['rotated by 90°', [irot(1)], 8],
        ['rotated by 180°', [irot(2)], 3],
        ['rotated by 270°', [irot(3)], 6],
        ['rotated by nothing', [irot(0)], 1],
        ['mirrored, top and bottom', [imir(0)], 4],
        ['mirrored, left and right', [imir(1)], 2],
        ['rotated, then mirrored', [irot(1), imir(0)], 5],
        ['rotated the other way, then mirrored', [irot(3), imir(0)], 7],
        ['mirrored, then rotated', [imir(1), irot(1)], 5],
      ] as const
    ).flatMap(([how, changes, orientation]) =>
      make('avif', 'image/avif', { [`avif, ${how}`]: avif(shape, ...changes) }, { orientation }),
    ),
    ...make(
      'avif',
      'image/avif',
      {
        'avif, cropped': avif(shape, clap(crop)),
      },
      { displayWidth: 280, displayHeight: 180 },
    ),
    ...make(
      'avif',
      'image/avif',
      {
        'avif, cropped, then rotated': avif(shape, clap(crop), irot(3)),
        'avif, rotated, then cropped': avif(shape, irot(3), clap({ width: 180, height: 280 })),
      },
      { orientation: 6, displayWidth: 180, displayHeight: 280 },
    ),
    ...make('avif', 'image/avif', {
      'avif, cropped to more than there is': avif(shape, clap({ width: 301, height: 200 })),
      'avif, cropped to nothing': avif(shape, clap({ width: 0, height: 200 })),
    }),
  ];
}

/** Turned on its side, as a camera is. Those that say how much of the sensor is shown have a border around 300 × 200. */
function raws(): Sample[] {
  const turned = { orientation: 8 };
  const shown = { ...turned, displayWidth: 200, displayHeight: 300 };
  const dng = (first: Record<number, number> = {}) => rawTiff(shape, 'Google', { 50706: 0x00000401, ...first });
  return [
    ...make('dng', 'image/x-adobe-dng', { dng: dng() }, turned),
    ...make('nef', 'image/x-nikon-nef', { nef: rawTiff(shape, 'NIKON CORPORATION', {}, false) }, turned),
    ...make('nrw', 'image/x-nikon-nrw', { nrw: rawTiff(shape, 'NIKON', { 259: 6 }) }, turned),
    ...make('arw', 'image/x-sony-arw', { arw: rawTiff(shape, 'SONY') }, turned),
    ...make('srw', 'image/x-samsung-srw', { srw: rawTiff(shape, 'SAMSUNG') }, turned),
    ...make('3fr', 'image/x-hasselblad-3fr', { '3fr': rawTiff(shape, 'Hasselblad') }, turned),
    ...make('raw', 'image/x-raw', { 'raw of another maker': rawTiff(shape, 'Eastman Kodak Company') }, turned),
    ...make(
      'pef',
      'image/x-pentax-pef',
      {
        pef: tiff(shape, { little: false, first: { 271: 'PENTAX Corporation', 274: 8, ...sensor } }),
      },
      turned,
    ),
    ...make('orf', 'image/x-olympus-orf', { orf: tiff(shape, { mark: 'IIRO', first: { 274: 8 } }) }, turned),
    ...make('cr2', 'image/x-canon-cr2', { cr2: rawWithExif(shape, 'CR\x02\0') }, turned),
    ...make('iiq', 'image/x-phaseone-iiq', { iiq: rawWithExif(shape, 'IIIICwaR') }, turned),
    ...make('cr3', 'image/x-canon-cr3', { cr3: cr3(shape) }, turned),
    ...make('rw2', 'image/x-panasonic-rw2', { rw2: rw2(shape) }, { ...shown, width: 376, height: 218 }),
    ...make('raf', 'image/x-fuji-raf', { raf: raf(shape) }, { ...shown, width: 396, height: 220 }),
  ];
}
