import { type Steps, view, viewIfThere } from './parser.ts';

/** How numbers are laid out: TIFF 6.0, or BigTIFF with its 64-bit offsets. */
type Layout = { little: boolean; big: boolean };

/**
 * Where directories are: offsets count from `base`, and nothing behind `end` belongs to it. Of one that an image can do
 * without (`optional`) what is not there is not missed.
 */
export type Tiff = Layout & { base: number; end: number; optional: boolean };

/** One entry of a directory: `at` is where its value or the offset of its values is. */
type Entry = { type: number; count: number; at: number; bytes: DataView };

/** The entries that somebody asks for, by their tag. */
export type Directory = ReadonlyMap<number, Entry>;

/** The tags that somebody asks for: of TIFF 6.0, EXIF, DNG 1.7, and of Panasonic's first directory. */
export const tags = {
  ...{ sensorTop: 4, sensorLeft: 5, sensorBottom: 6, sensorRight: 7, sensorWidth: 2, sensorHeight: 3 },
  ...{ subfileType: 254, width: 256, height: 257, compression: 259, photometric: 262, make: 271, orientation: 274 },
  ...{ subDirectories: 330, exif: 34665, exifWidth: 0xa002, exifHeight: 0xa003 },
  ...{ dngVersion: 50706, defaultCropSize: 50720 },
};
const wanted = new Set<number>(Object.values(tags));

/** Directories that an image can do without are read so far: real ones have at most a hundred entries. */
const maxOptionalEntries = 128;

/** TIFF 6.0 section 2: the byte order, a number that says which layout follows, and where the first directory is. */
export function* tiffHeader(
  place: Pick<Tiff, 'base' | 'end' | 'optional'>,
): Steps<{ tiff: Tiff; first: number } | null> {
  const classic: Tiff = { ...place, little: true, big: false };
  const head = yield* look(classic, 0, 8);
  if (!head) return null;
  const little = head.getUint8(0) === 0x49;
  if (head.getUint8(0) !== head.getUint8(1) || (!little && head.getUint8(0) !== 0x4d)) return null;
  if (head.getUint16(2, little) !== 43) return { tiff: { ...classic, little }, first: head.getUint32(4, little) };
  // BigTIFF says how wide its offsets are.
  if (head.getUint16(4, little) !== 8) return null;
  const tiff: Tiff = { ...classic, little, big: true };
  const first = yield* look(tiff, 8, 8);
  return first && { tiff, first: wide(first, 0, tiff) };
}

/**
 * Reads what is wanted of the directory at `at`; null where there is none. All entries are looked at: they should be
 * sorted by tag, and decoders read those that are not.
 */
export function* readDirectory(tiff: Tiff, at: number): Steps<Directory | null> {
  const found = new Map<number, Entry>();
  const [countBytes, entryBytes] = tiff.big ? [8, 20] : [2, 12];
  const head = yield* look(tiff, at, countBytes);
  if (!head) return null;
  const entries = tiff.big ? wide(head, 0, tiff) : head.getUint16(0, tiff.little);
  const most = tiff.optional ? Math.min(entries, maxOptionalEntries) : entries;
  for (let index = 0; index < most; index += 1) {
    const start = at + countBytes + index * entryBytes;
    const bytes = yield* look(tiff, start, entryBytes);
    if (!bytes) return found;
    const tag = bytes.getUint16(0, tiff.little);
    if (!wanted.has(tag) || found.has(tag)) continue;
    const count = wide(bytes, 4, tiff);
    // The window that the view is of may be used for other bytes later.
    const own = new DataView(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + entryBytes));
    found.set(tag, { type: bytes.getUint16(2, tiff.little), count, at: start + (tiff.big ? 12 : 8), bytes: own });
  }
  return found;
}

/** The value of an entry that is one SHORT (3), LONG (4) or LONG8 (16); of any other one null. */
export function numberOf(tiff: Tiff, directory: Directory, tag: number): number | null {
  const entry = directory.get(tag);
  if (entry?.count !== 1) return null;
  const at = tiff.big ? 12 : 8;
  if (entry.type === 3) return entry.bytes.getUint16(at, tiff.little);
  if (entry.type === 4) return entry.bytes.getUint32(at, tiff.little);
  return entry.type === 16 && tiff.big ? wide(entry.bytes, at, tiff) : null;
}

const numberBytes: Readonly<Record<number, number>> = { 3: 2, 4: 4, 5: 8, 13: 4, 16: 8, 18: 8 };

/** The first values of an entry, at most `most`, wherever they are: SHORT, LONG, IFD, RATIONAL and the wide ones. */
export function* numbersOf(tiff: Tiff, directory: Directory, tag: number, most: number): Steps<number[]> {
  const entry = directory.get(tag);
  const size = (entry && numberBytes[entry.type]) ?? 0;
  const bytes = entry && size > 0 ? yield* valuesOf(tiff, entry, most, size) : null;
  if (!entry || !bytes) return [];
  return Array.from({ length: bytes.byteLength / size }, (_, nth) => {
    const at = nth * size;
    if (entry.type === 3) return bytes.getUint16(at, tiff.little);
    if (entry.type === 5) return bytes.getUint32(at, tiff.little) / bytes.getUint32(at + 4, tiff.little);
    return size === 8 ? wide(bytes, at, tiff) : bytes.getUint32(at, tiff.little);
  });
}

/** The beginning of an entry that is text. */
export function* textOf(tiff: Tiff, directory: Directory, tag: number, most: number): Steps<string> {
  const entry = directory.get(tag);
  const bytes = entry?.type === 2 ? yield* valuesOf(tiff, entry, most, 1) : null;
  if (!bytes) return '';
  return String.fromCharCode(...Array.from({ length: bytes.byteLength }, (_, nth) => bytes.getUint8(nth)));
}

function* valuesOf(tiff: Tiff, entry: Entry, most: number, size: number): Steps<DataView | null> {
  const length = size * Math.min(entry.count, most);
  if (length === 0) return null;
  const isHere = size * entry.count <= (tiff.big ? 8 : 4);
  const at = isHere ? entry.at : wide(entry.bytes, tiff.big ? 12 : 8, tiff);
  return yield* look(tiff, at, length);
}

/** A number as wide as the layout has its offsets. */
function wide(bytes: DataView, at: number, { little, big }: Layout): number {
  return big ? Number(bytes.getBigUint64(at, little)) : bytes.getUint32(at, little);
}

function* look({ base, end, optional }: Tiff, at: number, length: number): Steps<DataView | null> {
  const start = base + at;
  if (start + length > end) return null;
  return yield* optional ? viewIfThere(start, length) : view(start, length);
}
