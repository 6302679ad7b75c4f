import type { FileHandle } from 'node:fs/promises';

type ImageFormat = 'jpg' | 'png' | 'gif' | 'webp' | 'avif' | 'heic' | 'tiff' | 'bmp';
export type ImageInfo = { format: ImageFormat; width: number; height: number };

/** Reads `length` bytes at a place of the file; fewer at its end. */
type ReadAt = (position: number, length: number) => Promise<Buffer>;
type Size = { width: number; height: number };

/** Enough for every header that sits at a fixed place. */
const headBytes = 64;
/** Phones write some 4 KB of boxes, a hundred tiles some 10; past this the file is not one of a camera. */
const boxBytes = 1024 * 1024;
/** A JPEG of 50 MB in 64 KB segments has 800; the bound only keeps a crafted file of empty ones from taking minutes. */
const segmentLimit = 20_000;

/** What kind of image this is and how large, from its headers alone; null for anything else. */
export async function readImageInfo(file: FileHandle): Promise<ImageInfo | null> {
  const readAt: ReadAt = async (position, length) => {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
    return buffer.subarray(0, bytesRead);
  };
  const head = await readAt(0, headBytes);
  const format = formatOf(head);
  if (format === null) return null;
  try {
    const size = await sizeOf(format, head, readAt);
    return size === null || size.width === 0 || size.height === 0 ? null : { format, ...size };
  } catch (error) {
    // A Buffer read past its end: the file stops in the middle of its own header.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

function formatOf(head: Buffer): ImageFormat | null {
  const text = head.toString('latin1');
  if (text.startsWith('\xff\xd8\xff')) return 'jpg';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'gif';
  if (text.startsWith('RIFF') && text.startsWith('WEBP', 8)) return 'webp';
  if (text.startsWith('II*\0') || text.startsWith('MM\0*')) return 'tiff';
  if (text.startsWith('BM')) return 'bmp';
  if (!text.startsWith('ftyp', 4)) return null;
  const brands = text.slice(8, Math.min(head.readUInt32BE(0), headBytes));
  if (/avi[fs]/.test(brands)) return 'avif';
  return /hei[cxms]|hev[cx]|mif1|msf1/.test(brands) ? 'heic' : null;
}

function sizeOf(format: ImageFormat, head: Buffer, readAt: ReadAt): Size | null | Promise<Size | null> {
  switch (format) {
    case 'png':
      return { width: head.readUInt32BE(16), height: head.readUInt32BE(20) };
    case 'gif':
      return { width: head.readUInt16LE(6), height: head.readUInt16LE(8) };
    case 'bmp':
      // A negative height means rows from the top.
      return { width: head.readInt32LE(18), height: Math.abs(head.readInt32LE(22)) };
    case 'webp':
      return webpSize(head);
    case 'jpg':
      return jpegSize(readAt);
    case 'tiff':
      return tiffSize(head, readAt);
    default:
      return heifSize(readAt);
  }
}

/** https://developers.google.com/speed/webp/docs/riff_container */
function webpSize(head: Buffer): Size | null {
  switch (head.toString('latin1', 12, 16)) {
    case 'VP8 ':
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff };
    case 'VP8L': {
      const bits = head.readUInt32LE(21);
      return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
    }
    case 'VP8X':
      return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 };
    default:
      return null;
  }
}

/** Walks the segments to the frame header, ITU T.81 section B.2.2, however many comments lie before it. */
async function jpegSize(readAt: ReadAt): Promise<Size | null> {
  let position = 2;
  for (let segments = 0; segments < segmentLimit; segments += 1) {
    const segment = await readAt(position, 9);
    if (segment.readUInt8(0) !== 0xff) return null;
    const marker = segment.readUInt8(1);
    if (marker === 0xff) {
      position += 1;
      continue;
    }
    // SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { height: segment.readUInt16BE(5), width: segment.readUInt16BE(7) };
    }
    // Start of scan or end of image: there is no frame header before the data.
    if (marker === 0xda || marker === 0xd9) return null;
    position += 2 + Math.max(2, segment.readUInt16BE(2));
  }
  return null;
}

/** TIFF 6.0: the first image file directory may be anywhere in the file. */
async function tiffSize(head: Buffer, readAt: ReadAt): Promise<Size | null> {
  const little = head.readUInt8(0) === 0x49;
  const u16 = (buffer: Buffer, at: number) => (little ? buffer.readUInt16LE(at) : buffer.readUInt16BE(at));
  const u32 = (buffer: Buffer, at: number) => (little ? buffer.readUInt32LE(at) : buffer.readUInt32BE(at));
  const directory = u32(head, 4);
  const entries = await readAt(directory + 2, 12 * u16(await readAt(directory, 2), 0));
  const value = (tag: number) => {
    for (let at = 0; at + 12 <= entries.length; at += 12) {
      if (u16(entries, at) === tag) return u16(entries, at + 2) === 3 ? u16(entries, at + 8) : u32(entries, at + 8);
    }
    return 0;
  };
  return { width: value(256), height: value(257) };
}

/** ISO/IEC 23008-12: the largest `ispe` of `meta/iprp/ipco` is the whole picture; the others are tiles and thumbnails. */
async function heifSize(readAt: ReadAt): Promise<Size | null> {
  let position = 0;
  for (let boxes = 0; boxes < 32; boxes += 1) {
    const header = await readAt(position, 16);
    const declared = header.readUInt32BE(0);
    const length = declared === 1 ? Number(header.readBigUInt64BE(8)) : declared;
    if (header.toString('latin1', 4, 8) === 'meta') {
      return largestExtent(await readAt(position, Math.min(length, boxBytes)));
    }
    if (length < 8) return null;
    position += length;
  }
  return null;
}

function largestExtent(meta: Buffer): Size | null {
  let largest: Size | null = null;
  for (let at = meta.indexOf('ispe'); at >= 0; at = meta.indexOf('ispe', at + 4)) {
    const size = { width: meta.readUInt32BE(at + 8), height: meta.readUInt32BE(at + 12) };
    if (largest === null || size.width * size.height > largest.width * largest.height) largest = size;
  }
  return largest;
}
