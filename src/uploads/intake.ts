import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import { HoplaError } from '../errors.ts';
import { byteLength } from './append.ts';
import { createImageInspector, type ImageHeader, type ImageInspector, isAccepted } from './image-header.ts';

/** What is learnt of one image while its bytes pass. */
type Learnt = {
  offset: number;
  sha256: Hash;
  md5: Hash;
  inspector: ImageInspector;
  header: ImageHeader | null;
  needs: number;
};

export type Facts = { sha256: string; md5: string; header: ImageHeader | null };

export type IntakeLimits = { acceptedTypes: readonly string[]; maxPixels: number };

/**
 * Watches the bytes of every upload as they pass: hashes them, and looks at the image's header as early as it can.
 *
 * What it knows is kept in memory between the requests of one upload, for the most recent uploads. Where it is not
 * there (a restart, an eviction, a failed write) the staged file is read again, once, at the end.
 */
export type Intake = {
  /** Takes note of bytes just written. Throws `unsupported-image` or `image-too-many-pixels` as soon as that is certain. */
  observe(
    imageId: string,
    handle: FileHandle,
    batch: readonly Buffer[],
    offset: number,
    size: number | null,
  ): Promise<void>;
  /** The verdict on a whole file of `size` bytes. Throws like `observe`. */
  conclude(imageId: string, handle: FileHandle, size: number): Promise<Facts>;
  forget(imageId: string): void;
};

/** Two hash states of OpenSSL and a header are about 1 KiB: 10 MiB at most. */
const REMEMBERED = 10_000;
const READ_BYTES = 256 * 1024;

export function createIntake({ acceptedTypes, maxPixels }: IntakeLimits): Intake {
  const uploads = new LRUCache<string, Learnt>({ max: REMEMBERED });
  const sniffing = !acceptedTypes.includes('*/*');

  const inspect = async (learnt: Learnt, handle: FileHandle, size: number | null) => {
    if (!sniffing || learnt.header || learnt.offset < learnt.needs) return;
    const found = await learnt.inspector.file(handle, learnt.offset, size);
    if (found.state === 'not-image') throw new HoplaError('unsupported-image', notAnImage[found.reason]);
    if (found.state === 'need-more') {
      if (found.kind) assertAccepted(found.kind.contentType, acceptedTypes);
      learnt.needs = found.needs;
      return;
    }
    assertAccepted(found.header.contentType, acceptedTypes);
    assertPixels(found.header, maxPixels);
    learnt.header = found.header;
  };

  return {
    async observe(imageId, handle, batch, offset, size) {
      const start = offset - byteLength(batch);
      const learnt = start === 0 ? begin() : uploads.get(imageId);
      if (learnt?.offset !== start) return;
      takeNote(learnt, batch);
      uploads.set(imageId, learnt);
      await inspect(learnt, handle, size);
    },
    async conclude(imageId, handle, size) {
      const remembered = uploads.get(imageId);
      const learnt = remembered?.offset === size ? remembered : await readAgain(handle, size);
      learnt.needs = 0;
      await inspect(learnt, handle, size);
      // Copies: should the commit fail, the next try asks again.
      return {
        sha256: learnt.sha256.copy().digest('hex'),
        md5: learnt.md5.copy().digest('hex'),
        header: learnt.header,
      };
    },
    forget(imageId) {
      uploads.delete(imageId);
    },
  };
}

const notAnImage = {
  signature: 'The first bytes are not those of an accepted image type.',
  broken: 'The image’s header is broken.',
  truncated: 'The file ends before the image’s header does.',
};

function begin(): Learnt {
  return {
    offset: 0,
    sha256: createHash('sha256'),
    md5: createHash('md5'),
    inspector: createImageInspector(),
    header: null,
    needs: 0,
  };
}

async function readAgain(handle: FileHandle, size: number): Promise<Learnt> {
  const learnt = begin();
  const buffer = Buffer.alloc(Math.min(READ_BYTES, size));
  while (learnt.offset < size) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, size - learnt.offset), learnt.offset);
    if (bytesRead === 0) throw new Error(`the staged file ends at ${learnt.offset} of ${size} bytes`);
    takeNote(learnt, [buffer.subarray(0, bytesRead)]);
  }
  return learnt;
}

function takeNote(learnt: Learnt, batch: readonly Buffer[]): void {
  for (const piece of batch) {
    learnt.sha256.update(piece);
    learnt.md5.update(piece);
    learnt.offset += piece.length;
  }
}

function assertAccepted(contentType: string, acceptedTypes: readonly string[]): void {
  if (isAccepted(contentType, acceptedTypes)) return;
  throw new HoplaError(
    'unsupported-image',
    `${contentType} is not accepted here; accepted are ${acceptedTypes.join(', ')}.`,
  );
}

function assertPixels({ width, height }: ImageHeader, maxPixels: number): void {
  if (width === null || height === null || width * height <= maxPixels) return;
  throw new HoplaError(
    'image-too-many-pixels',
    `The image is ${width} × ${height} pixels; at most ${maxPixels} in all are taken.`,
  );
}
