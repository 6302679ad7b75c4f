import { LRUCache } from 'lru-cache';
import { HoplaError } from '../errors.ts';
import type { DiskThread, FileDigests } from './disk-thread.ts';
import {
  createImageInspector,
  type FileBytes,
  type ImageHeader,
  type ImageInspector,
  isAccepted,
} from './image-header.ts';

export type Facts = FileDigests & { header: ImageHeader | null };

export type IntakeOptions = {
  acceptedTypes: readonly string[];
  maxPixels: number;
  disk: Pick<DiskThread, 'advance' | 'conclude' | 'forget'>;
  pathOf: (imageId: string) => string;
};

/**
 * Watches every upload as it grows: has it hashed, and looks at the image's header as early as it can.
 *
 * What it knows is kept in memory between the requests of one upload, for the most recent uploads. Where it is not there
 * (a restart, an eviction) the staged file is looked at again.
 */
export type Intake = {
  /** Takes note that `offset` bytes are written. Throws `unsupported-image` or `image-too-many-pixels` as soon as that is certain. */
  observe(imageId: string, file: FileBytes, offset: number, size: number | null): Promise<void>;
  /** The verdict on a whole file of `size` bytes. Throws like `observe`. */
  conclude(imageId: string, file: FileBytes, size: number): Promise<Facts>;
  /** The verdict on a whole image of `size` bytes at hand, of which nothing is remembered. Throws like `observe`. */
  examine(file: FileBytes, size: number): Promise<ImageHeader | null>;
  /** The file was cut or removed, or nobody will ask again. */
  forget(imageId: string): void;
};

/** What is learnt of one image while its bytes pass; `needs` of them before another look is of use. */
type Learnt = { inspector: ImageInspector | null; header: ImageHeader | null; needs: number; hashing: number };

/** A header: about 0.5 KiB, 5 MiB at most. Only for as long as one is still looked for, also the 4 KiB that were read last. */
const REMEMBERED = 10_000;

/** Bytes between two words to the thread that hashes: small images need none, and large ones are hashed as they come. */
const HASH_STEP_BYTES = 1024 * 1024;

export function createIntake({ acceptedTypes, maxPixels, disk, pathOf }: IntakeOptions): Intake {
  const uploads = new LRUCache<string, Learnt>({ max: REMEMBERED });
  const sniffing = !acceptedTypes.includes('*/*');

  const inspect = async (learnt: Learnt, file: FileBytes, offset: number, size: number | null) => {
    if (!sniffing || !learnt.inspector || offset < learnt.needs) return;
    const found = await learnt.inspector.file(file, offset, size);
    if (found.state === 'not-image') throw new HoplaError('unsupported-image', notAnImage[found.reason]);
    if (found.state === 'need-more') {
      if (found.kind) assertAccepted(found.kind.contentType, acceptedTypes);
      learnt.needs = found.needs;
      return;
    }
    assertAccepted(found.header.contentType, acceptedTypes);
    assertPixels(found.header, maxPixels);
    learnt.header = found.header;
    learnt.inspector = null;
  };

  return {
    async observe(imageId, file, offset, size) {
      const learnt = uploads.get(imageId) ?? begin();
      uploads.set(imageId, learnt);
      if (offset - learnt.hashing >= HASH_STEP_BYTES) {
        learnt.hashing = offset;
        disk.advance(imageId, pathOf(imageId), offset);
      }
      await inspect(learnt, file, offset, size);
    },
    async conclude(imageId, file, size) {
      const learnt = uploads.get(imageId) ?? begin();
      learnt.needs = 0;
      await inspect(learnt, file, size, size);
      return { ...(await disk.conclude(imageId, pathOf(imageId), size)), header: learnt.header };
    },
    async examine(file, size) {
      const learnt = begin();
      await inspect(learnt, file, size, size);
      return learnt.header;
    },
    forget(imageId) {
      const learnt = uploads.get(imageId);
      uploads.delete(imageId);
      // What was evicted here may still be remembered there.
      if (learnt?.hashing !== 0) disk.forget(imageId);
    },
  };
}

const notAnImage = {
  signature: 'The first bytes are not those of an accepted image type.',
  broken: 'The image’s header is broken.',
  truncated: 'The file ends before the image’s header does.',
};

function begin(): Learnt {
  return { inspector: createImageInspector(), header: null, needs: 0, hashing: 0 };
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
