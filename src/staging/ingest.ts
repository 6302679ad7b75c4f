import type { Logger } from 'pino';
import type { Image } from '../database/models.ts';
import type { Inspection } from '../image-format/inspect.ts';
import type { Size } from '../image-format/parser.ts';
import { HoplaError } from '../model/errors.ts';
import { type ImageFacts, unknownFacts } from '../model/image-facts.ts';
import { formats, type ImageFormat, imageKinds, isAccepted } from '../model/image-kinds.ts';
import type { ImageLimits } from '../model/image-limits.ts';
import { inMillions } from '../model/limit-words.ts';
import { BoundedMap } from '../runtime/bounded-map.ts';
import type { Offsets } from '../uploads/session/offsets.ts';
import type { BufferPool, Lent } from './local/buffer-pool.ts';
import type { Staging } from './local/folder.ts';
import type { DiskThread } from './local/io-thread.ts';
import type { DiskError } from './local/io-worker.ts';

/**
 * Of a whole image: its SHA-256 as lower-case hex, and what its header says; of one that came in one piece its bytes, too,
 * if they are `wanted`.
 */
export type Facts = { sha256: string; image: ImageFacts; content: Buffer | null };

/** Brings the bytes of images into their staged files, by way of the disk thread, and passes judgement on them. */
export type Intake = {
  /** Memory for bytes on their way. */
  readonly buffers: BufferPool;
  /**
   * Writes what is in the buffer to the file of an image of `total` bytes (null while nobody knows). The verdict is given when
   * it is written, and throws `unsupported-image` or `image-too-many-pixels` as soon as that is certain.
   */
  write(imageId: string, total: number | null, lent: Lent): Promise<() => void>;
  /** The verdict on a whole file of `size` bytes. Throws like that of `write`, or what reading throws. */
  conclude(imageId: string, size: number): Promise<Facts>;
  /** Makes the file's bytes and its directory entry survive a power cut. When that fails, the file is gone. */
  persist(imageId: string): Promise<void>;
  /**
   * Writes the last bytes of an image, and makes its file durable. Throws like `conclude`, or what the disk says: when it cannot
   * take them all, those that it took remain; when it cannot keep what it took, the file is gone.
   */
  land(imageId: string, lent: Lent): Promise<Facts>;
  /** The file was cut or removed, or another process goes on with it. */
  forget(imageId: string): void;
  /**
   * Remembers where an upload stands after a request, for the next one of this process, which is its holder: nobody else
   * writes to it. Its row may be changed by others, though, who say so: then `doubt` it.
   */
  keep(image: Image, offset: number): void;
  /** What was kept, if the upload stands at `offset`; it is then for the caller to `keep` it again. */
  take(imageId: string, offset: number): Image | null;
  /** The row was changed: database and disk have to be asked again. Of all uploads, when none is named. */
  doubt(imageId?: string): void;
};

export type IntakeOptions = {
  acceptedTypes: readonly string[];
  limits: Pick<ImageLimits, 'pixels'>;
  disk: DiskThread;
  buffers: BufferPool;
  staging: Pick<Staging, 'wrote' | 'lose'>;
  /** Told of everything that moves the end of a file. */
  offsets: Pick<Offsets, 'wrote' | 'keep' | 'forget'>;
  /** Whether an image of so many bytes would be sent on right away. */
  wanted: (bytes: number) => boolean;
  log: Logger;
};

/** Uploads between two requests; of others the database and the disk know. About 1 KiB each. */
const KEPT = 10_000;

/** False where every type is taken, so that nobody looks at an image. */
export function sniffs(acceptedTypes: readonly string[]): boolean {
  return !acceptedTypes.includes('*/*');
}

export function createIntake(options: IntakeOptions): Intake {
  const { acceptedTypes, limits, disk, buffers, staging, offsets, wanted, log } = options;
  /** Of the few formats that there are, those that are accepted: every piece of an image is judged. */
  const accepted = new Set(formats.filter((format) => isAccepted(imageKinds[format].contentType, acceptedTypes)));
  const judge = (inspection: Inspection | null): ImageFacts => {
    if (inspection === null) return unknownFacts;
    if (inspection.state === 'not-image') throw new HoplaError('unsupported-image', notAnImage[inspection.reason]);
    const found = inspection.state === 'image' ? [inspection.facts.format] : inspection.formats;
    const [first] = found;
    if (first && !found.some((format) => accepted.has(format))) throw notAccepted(first, acceptedTypes);
    const size = inspection.state === 'image' ? inspection.facts : inspection.size;
    if (size) assertPixels(size, limits.pixels);
    return inspection.state === 'image' ? inspection.facts : unknownFacts;
  };

  const kept = new BoundedMap<string, { image: Image; offset: number }>(KEPT);
  const forget = (imageId: string) => {
    kept.delete(imageId);
    offsets.forget(imageId);
    disk.forget(imageId);
  };
  /** On ENOSPC a part of the piece is in the file. */
  const misplace = (imageId: string, error: unknown): never => {
    offsets.forget(imageId);
    throw error;
  };
  const lose = async (imageId: string, error: unknown): Promise<never> => {
    // Nobody was told that the last byte is safe, and HEAD says offset 0 from now on.
    log.error({ err: error, imageId }, 'staged file could not be made durable; the upload starts over');
    forget(imageId);
    await staging.lose(imageId);
    throw error;
  };

  return {
    buffers,
    async write(imageId, total, lent) {
      const inspection = await disk.write(imageId, total, lent).catch((error) => misplace(imageId, error));
      staging.wrote(imageId, lent.place.length);
      offsets.wrote(imageId, lent.end);
      return () => void judge(inspection);
    },
    async conclude(imageId, size) {
      const { inspection, sha256 } = await disk.conclude(imageId, size);
      return { sha256, image: judge(inspection), content: null };
    },
    async persist(imageId) {
      await disk.sync(imageId).catch((error) => lose(imageId, error));
    },
    async land(imageId, lent) {
      const { inspection, sha256 } = await disk.land(imageId, lent).catch((error: DiskError) => {
        if (error.lost) return lose(imageId, error);
        return misplace(imageId, error);
      });
      const { at, length } = lent.place;
      staging.wrote(imageId, length);
      offsets.wrote(imageId, lent.end);
      const image = judge(inspection);
      const wants = lent.position === 0 && wanted(length);
      return { sha256, image, content: wants ? Buffer.from(new Uint8Array(buffers.memory, at, length)) : null };
    },
    forget,
    keep(image, offset) {
      kept.set(image.id, { image, offset });
      offsets.keep(image.id, offset);
    },
    take(imageId, offset) {
      const known = kept.get(imageId);
      kept.delete(imageId);
      return known?.offset === offset ? known.image : null;
    },
    doubt(imageId) {
      if (imageId === undefined) kept.clear();
      else kept.delete(imageId);
    },
  };
}

const notAnImage = {
  signature: 'The first bytes are not those of an accepted image type.',
  broken: 'The image’s header is broken.',
  truncated: 'The file ends before the image’s header does.',
};

function notAccepted(format: ImageFormat, acceptedTypes: readonly string[]): HoplaError {
  const { name, contentType } = imageKinds[format];
  return new HoplaError(
    'unsupported-image',
    `This file is ${name} (${contentType}), which is not accepted here; accepted are ${acceptedTypes.join(', ')}.`,
    { members: { contentType, acceptedTypes } },
  );
}

function assertPixels({ width, height }: Size, maxPixels: number): void {
  if (width === null || height === null || width * height <= maxPixels) return;
  const { amount, limit } = inMillions(width * height, maxPixels);
  throw new HoplaError('image-too-many-pixels', `The image has ${amount} megapixels; at most ${limit} are taken.`, {
    members: { width, height, maxPixels },
  });
}
