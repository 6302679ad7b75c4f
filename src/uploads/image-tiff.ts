import { type Size, type Steps, sized, view } from './image-steps.ts';

/** How numbers are laid out: TIFF 6.0, or BigTIFF with its 64-bit offsets. */
type Layout = { little: boolean; entry: number; count: (bytes: DataView, at: number) => number; countBytes: number };

/** What one directory says. `subDirectories` is where the offsets of its SubIFDs are. */
type Directory = {
  width: number;
  height: number;
  reduced: boolean;
  subDirectories: { at: number; count: number } | null;
};

/** Raw photos have one to four SubIFDs: the sensor's image, and previews. */
const maxSubDirectories = 8;

/**
 * TIFF 6.0 section 2: the header points at a directory, often at the end of the file, whose entries hold the size.
 * Where the first directory is only a reduced preview (DNG and its kin), the largest of its SubIFDs counts.
 */
export function* tiffSize(): Steps<Size | null> {
  const head = yield* view(0, 8);
  const little = head.getUint8(0) === 0x49;
  const layout = head.getUint16(2, little) === 43 ? bigLayout(little) : classicLayout(little);
  if (layout.entry === 20 && head.getUint16(4, little) !== 8) return null; // BigTIFF says how wide its offsets are
  const first = layout.entry === 20 ? layout.count(yield* view(8, 8), 0) : head.getUint32(4, little);
  const main = yield* directory(first, layout);
  if (!main.reduced || !main.subDirectories) return sized(main.width, main.height);
  let largest = main;
  for (let index = 0; index < Math.min(main.subDirectories.count, maxSubDirectories); index += 1) {
    const offset = layout.count(yield* view(main.subDirectories.at + index * layout.countBytes, layout.countBytes), 0);
    const sub = yield* directory(offset, layout);
    if (sub.width * sub.height > largest.width * largest.height) largest = sub;
  }
  return sized(largest.width, largest.height);
}

function classicLayout(little: boolean): Layout {
  return { little, entry: 12, countBytes: 4, count: (bytes, at) => bytes.getUint32(at, little) };
}

function bigLayout(little: boolean): Layout {
  return { little, entry: 20, countBytes: 8, count: (bytes, at) => Number(bytes.getBigUint64(at, little)) };
}

/** All entries are looked at: they should be sorted by tag, and decoders read those that are not. */
function* directory(at: number, layout: Layout): Steps<Directory> {
  const { little, entry, countBytes } = layout;
  const found: Directory = { width: 0, height: 0, reduced: false, subDirectories: null };
  const header = countBytes === 4 ? 2 : 8;
  const head = yield* view(at, header);
  const entries = countBytes === 4 ? head.getUint16(0, little) : layout.count(head, 0);
  for (let index = 0; index < entries; index += 1) {
    const start = at + header + index * entry;
    const bytes = yield* view(start, entry);
    const tag = bytes.getUint16(0, little);
    if (tag === 256) found.width = number(bytes, layout);
    else if (tag === 257) found.height = number(bytes, layout);
    else if (tag === 254) found.reduced = (number(bytes, layout) & 1) === 1;
    else if (tag === 330) found.subDirectories = subDirectories(bytes, start, layout);
  }
  return found;
}

/** The value of an entry that is one SHORT (3), LONG (4) or LONG8 (16), or else 0, which is no size. */
function number(bytes: DataView, { little, count, countBytes }: Layout): number {
  const type = bytes.getUint16(2, little);
  if (count(bytes, 4) !== 1) return 0;
  if (type === 3) return bytes.getUint16(4 + countBytes, little);
  if (type === 4) return bytes.getUint32(4 + countBytes, little);
  return type === 16 && countBytes === 8 ? count(bytes, 12) : 0;
}

/** A single offset is in the entry itself, several are where it points. */
function subDirectories(bytes: DataView, start: number, { count, countBytes }: Layout): Directory['subDirectories'] {
  const many = count(bytes, 4);
  return { at: many === 1 ? start + 4 + countBytes : count(bytes, 4 + countBytes), count: many };
}
