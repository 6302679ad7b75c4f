import { isOrientation, type Orientation } from '../model/image-facts.ts';
import type { ImageFormat } from '../model/image-kinds.ts';
import { type Known, type Measured, measured, type Size, type Steps, sized } from './parser.ts';
import {
  type Directory,
  numberOf,
  numbersOf,
  readDirectory,
  type Tiff,
  tags,
  textOf,
  tiffHeader,
} from './tiff-directory.ts';

/** Raw photos have one to four SubIFDs: the sensor's image, and previews. */
const maxSubDirectories = 8;

/** What raw files of cameras are TIFFs of; the mark at its beginning tells the others. */
export const tiffFormats: readonly ImageFormat[] = [
  ...(['tiff', 'dng', 'nef', 'nrw', 'arw', 'pef', 'srw', '3fr', 'raw'] as const),
];

/** TIFF/EP and DNG: the colour filter array of a sensor, and what was made linear of one. */
const rawPhotometric: readonly number[] = [32803, 34892];

/** Compressions of one maker's raw files alone: Sony, Nikon, Samsung (two), Pentax. */
const rawCompressions: readonly number[] = [32767, 34713, 32770, 32772, 65535];

const makers: readonly (readonly [begin: string, format: ImageFormat])[] = [
  ['NIKON', 'nef'],
  ['SONY', 'arw'],
  ['PENTAX', 'pef'],
  ['RICOH', 'pef'],
  ['SAMSUNG', 'srw'],
  ['HASSELBLAD', '3fr'],
];

/**
 * TIFF 6.0 section 2: the header points at a directory, often at the end of the file, whose entries hold the size.
 * Raw files are TIFFs, too, and programs that export a TIFF keep the camera's name in it: raw is what has a sensor's
 * picture. Where the first directory is only a reduced preview (DNG and its kin), the largest of its SubIFDs counts.
 */
export function* tiff(known: Known): Steps<Measured | null> {
  const opened = yield* openTiff();
  if (!opened) return null;
  const { file, main } = opened;
  // A file that begins with a preview is none without the others.
  const reduced = isReduced(file, main);
  const subs = yield* subDirectories({ ...file, optional: !reduced }, main);
  const format = yield* rawFormat(file, main, subs);
  known.formats = [format ?? 'tiff'];
  const largest = format || reduced ? fullPicture(file, [main, ...subs]) : main;
  return measured(
    sizeOf(file, largest),
    orientationOf(file, main),
    yield* defaultCrop({ ...file, optional: true }, largest),
  );
}

/** ORF, and any other that has its picture in the first directory. */
export function* firstDirectory(): Steps<Measured | null> {
  const opened = yield* openTiff();
  return opened && measured(sizeOf(opened.file, opened.main), orientationOf(opened.file, opened.main));
}

/**
 * CR2 and IIQ: the first directory is a preview, that of the sensor has no size in it, and EXIF says how large the picture
 * is, as ExifTool reads them too.
 */
export function* sizeInExif(): Steps<Measured | null> {
  const opened = yield* openTiff();
  if (!opened) return null;
  const { file, main } = opened;
  const at = numberOf(file, main, tags.exif);
  const exif = at === null ? null : yield* readDirectory(file, at);
  const size = exif && sized(numberOf(file, exif, tags.exifWidth) ?? 0, numberOf(file, exif, tags.exifHeight) ?? 0);
  return measured(size ?? { width: null, height: null }, orientationOf(file, main));
}

/** RW2: the whole sensor, and the borders of the picture on it. */
export function* sensorBorders(): Steps<Measured | null> {
  const opened = yield* openTiff();
  if (!opened) return null;
  const { file, main } = opened;
  const of = (tag: number) => numberOf(file, main, tag) ?? 0;
  const crop = sized(of(tags.sensorRight) - of(tags.sensorLeft), of(tags.sensorBottom) - of(tags.sensorTop));
  return measured(sized(of(tags.sensorWidth), of(tags.sensorHeight)), orientationOf(file, main), crop);
}

function* openTiff(): Steps<{ file: Tiff; main: Directory } | null> {
  const header = yield* tiffHeader({ base: 0, end: Number.POSITIVE_INFINITY, optional: false });
  const main = header && (yield* readDirectory(header.tiff, header.first));
  return header && main && { file: header.tiff, main };
}

function* subDirectories(file: Tiff, main: Directory): Steps<Directory[]> {
  const found: Directory[] = [];
  for (const at of yield* numbersOf(file, main, tags.subDirectories, maxSubDirectories)) {
    const directory = yield* readDirectory(file, at);
    if (directory) found.push(directory);
  }
  return found;
}

/** Null for a TIFF that is no camera's raw file. */
function* rawFormat(file: Tiff, main: Directory, subs: readonly Directory[]): Steps<ImageFormat | null> {
  if (main.has(tags.dngVersion)) return 'dng';
  const isRaw = [main, ...subs].some(
    (one) =>
      rawPhotometric.includes(numberOf(file, one, tags.photometric) ?? 0) ||
      rawCompressions.includes(numberOf(file, one, tags.compression) ?? 0),
  );
  if (!isRaw) return null;
  const make = (yield* textOf(file, main, tags.make, 16)).toUpperCase();
  const format = makers.find(([begin]) => make.startsWith(begin))?.[1] ?? 'raw';
  // A Nikon with a JPEG in its first directory is a Coolpix: its files are named NRW.
  return format === 'nef' && numberOf(file, main, tags.compression) === 6 ? 'nrw' : format;
}

/** DNG, NewSubFileType: 0 is the picture at full resolution. Where nothing is that, the largest is. */
function fullPicture(file: Tiff, all: readonly Directory[]): Directory {
  const full = all.filter((one) => numberOf(file, one, tags.subfileType) === 0 && sizeOf(file, one));
  const area = (one: Directory) => {
    const { width, height } = sizeOf(file, one) ?? {};
    return (width ?? 0) * (height ?? 0);
  };
  return (full.length > 0 ? full : all).reduce((most, one) => (area(one) > area(most) ? one : most));
}

function isReduced(file: Tiff, directory: Directory): boolean {
  return ((numberOf(file, directory, tags.subfileType) ?? 0) & 1) === 1;
}

function sizeOf(file: Tiff, directory: Directory): Size | null {
  return sized(numberOf(file, directory, tags.width) ?? 0, numberOf(file, directory, tags.height) ?? 0);
}

function orientationOf(file: Tiff, main: Directory): Orientation | null {
  const value = numberOf(file, main, tags.orientation);
  return isOrientation(value) ? value : null;
}

/** DNG 1.7, DefaultCropSize: the part of the sensor's picture that is shown, horizontally first. */
function* defaultCrop(file: Tiff, directory: Directory): Steps<Size | null> {
  const [width = 0, height = 0] = yield* numbersOf(file, directory, tags.defaultCropSize, 2);
  return sized(Math.round(width), Math.round(height));
}
