import { closeSync, openSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';

/** Size in pixels as a viewer shows HEIF and AVIF: turned and cropped. Null when the header is broken or incomplete. */
type Size = { width: number | null; height: number | null };
/** `format` is Cloudinary's name. */
export type ImageInfo = { format: string } & Size;

/** Finds out what an image is, from its headers alone. Null for a file that is no image. */
export type ReadImageInfo = (path: string) => Promise<ImageInfo | null>;

/** Nearly every header ends within so many bytes. A TIFF may have its directory at the end, and is then read whole. */
const PREFIX_BYTES = 256 * 1024;

/** Formats whose header is short and simple: a file without a size is broken, as Cloudinary says, too. */
const BEGIN_WITH_SIZE = new Set(['jpg', 'png', 'webp']);

/**
 * Makes a reader that loads ImageMagick with its first image: 120 ms and 50 MB, which a gateway with a real store never
 * spends. ImageMagick decodes nothing here. A crafted file can at worst delay the sandbox's own process.
 */
export function createImageReader(): ReadImageInfo {
  let magick: Promise<typeof import('@imagemagick/magick-wasm')> | undefined;
  const prefix = Buffer.allocUnsafeSlow(PREFIX_BYTES);
  return async (path) => {
    magick ??= loadMagick();
    const { MagickImageCollection } = await magick;
    const sizeOf = (bytes: Buffer): Size | null => {
      const frames = MagickImageCollection.create();
      try {
        frames.ping(bytes);
        // The first page of a TIFF may be its thumbnail.
        const sizes = frames.map(({ width, height }) => ({ width, height }));
        return sizes.reduce((most, size) => (size.width * size.height > most.width * most.height ? size : most));
      } catch {
        // ImageMagick throws for every file that it cannot read.
        return null;
      } finally {
        frames.dispose();
      }
    };
    // Synchronous, so that no other image is read into the same buffer meanwhile. The file was written a moment ago.
    const file = openSync(path, 'r');
    const bytesRead = readSync(file, prefix, 0, PREFIX_BYTES, 0);
    closeSync(file);
    const format = formatOf(prefix.subarray(0, bytesRead));
    if (format === null) return null;
    const size =
      sizeOf(prefix.subarray(0, bytesRead)) ?? (bytesRead === PREFIX_BYTES ? sizeOf(await readFile(path)) : null);
    if (size === null && BEGIN_WITH_SIZE.has(format)) return null;
    return { format, ...(size ?? { width: null, height: null }) };
  };
}

async function loadMagick() {
  const magick = await import('@imagemagick/magick-wasm');
  const { resolve } = createRequire(import.meta.url);
  await magick.initializeImageMagick(await readFile(resolve('@imagemagick/magick-wasm/magick.wasm')));
  return magick;
}

/** By the first bytes. ImageMagick reads many formats more, which Cloudinary does not take as images. */
function formatOf(head: Buffer): string | null {
  const text = head.toString('latin1', 0, 64);
  if (text.startsWith('\xff\xd8\xff')) return 'jpg';
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (/^GIF8[79]a/.test(text)) return 'gif';
  if (text.startsWith('RIFF') && text.startsWith('WEBP', 8)) return 'webp';
  // TIFF 6.0, and BigTIFF.
  if (/^(II[*+]\0|MM\0[*+])/.test(text)) return 'tiff';
  if (text.startsWith('BM')) return 'bmp';
  if (!text.startsWith('ftyp', 4)) return null;
  const brands = text.slice(8, head.readUInt32BE(0));
  if (/avi[fs]/.test(brands)) return 'avif';
  return /hei[cxms]|hev[cx]|mif1|msf1/.test(brands) ? 'heic' : null;
}
