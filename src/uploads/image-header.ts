import { type ImageFormat, type ImageKind, recognise } from './image-signature.ts';
import type { Ask, Steps } from './image-steps.ts';

// Why not a library. None can be asked "what do you need before you know", which is what a file that arrives in pieces
// takes, and none reads a late directory from disk. Measured on the corpus of test/fuzz: image-size 2.1 is quadratic in
// the number of boxes (512 KiB of crafted HEIC: 6 s of CPU), takes the largest item of a HEIC for its primary one, and
// finds BMP and TGA in noise; probe-image-size 7.5 knows no size of an iPhone's HEIC; file-type 22 knows no
// sizes, and its verdict on a prefix cannot be told from its verdict on the file.

/** `width` and `height` are the stored pixels, before EXIF rotation; null where the format lets a file leave them out. */
export type ImageHeader = { contentType: string; format: ImageFormat; width: number | null; height: number | null };

/**
 * `need-more`: undecided, and asking again is useless before `needs` bytes from the start of the file are there; `kind`
 * is set as soon as the type is known and only the size is not. `not-image`: no accepted signature, a header that no
 * decoder takes, or one that the end of the file cuts off.
 */
export type Inspection =
  | { state: 'need-more'; needs: number; kind: ImageKind | null }
  | { state: 'image'; header: ImageHeader }
  | { state: 'not-image'; reason: 'signature' | 'broken' | 'truncated' };

/**
 * A step is one look at the file. A JPEG segment takes two, so 2,048 skip 64 MiB of full segments; the busiest camera
 * file seen takes 42. What takes more was made to be walked, not seen.
 */
const maxSteps = 2048;

/** Most steps follow closely upon each other: one read serves many. */
const windowBytes = 4096;

/** A file, or what is read like one: of a `FileHandle` no more is asked. */
export type FileBytes = {
  read(buffer: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>;
};

/**
 * Looks at one file as it grows on disk. Each look goes on where the last one stopped, so all of them together take at
 * most `maxSteps`, however small the pieces in which a client sends its bytes.
 */
export type ImageInspector = {
  /**
   * Looks at the first `staged` bytes, by small reads wherever the header leads: a TIFF keeps its directory, and a HEIC
   * may keep its `meta`, behind the pixels. `total` is the length of the whole file, null while nobody knows it: a
   * header that reaches beyond it is cut off, and that shows before the last byte is here. With `total` bytes staged the
   * answer is never `need-more`; a verdict, once given for a `total`, stays. Rejects only when reading does.
   */
  file: (handle: FileBytes, staged: number, total?: number | null) => Promise<Inspection>;
};

export function createImageInspector(): ImageInspector {
  const found: Found = { kind: null };
  const steps = inspection(found);
  let turn = steps.next();
  let taken = 0;

  /** Feeds the parser from `bytes`, which are the file's from `offset` on, until it is done or asks for others. */
  function feed(bytes: Uint8Array, offset: number): Ask | Inspection {
    while (!turn.done) {
      const ask = turn.value;
      const start = ask.offset - offset;
      if (taken >= maxSteps) return { state: 'not-image', reason: 'broken' };
      if (start < 0 || start + ask.length > bytes.length) return ask;
      turn = steps.next(bytes.subarray(start));
      taken += ask.metered ? 1 : 0;
    }
    return turn.value;
  }

  return {
    file: async (handle, staged, total = staged) => {
      let here = staged;
      let next = feed(new Uint8Array(0), 0);
      while (!('state' in next) && next.offset + next.length <= here) {
        const { offset, length } = next;
        const bytes = await readWindow(handle, offset, Math.min(Math.max(length, windowBytes), here - offset));
        // A file shorter than it was said to be.
        if (bytes.length < length) here = offset + bytes.length;
        next = feed(bytes, offset);
      }
      if ('state' in next) return next;
      const needs = next.offset + next.length;
      // With all of it staged, what is not here does not exist.
      const end = total !== null && staged >= total ? here : total;
      if (end !== null && needs > end) return { state: 'not-image', reason: 'truncated' };
      return { state: 'need-more', needs, kind: found.kind };
    },
  };
}

/** Whether an operator's list of media types lets this one pass: exact, `image/*` or `*\/*`, in any case. */
export function isAccepted(contentType: string, acceptedTypes: readonly string[]): boolean {
  const type = contentType.toLowerCase();
  return acceptedTypes
    .map((accepted) => accepted.trim().toLowerCase())
    .some(
      (accepted) =>
        accepted === '*/*' || accepted === type || (accepted.endsWith('/*') && type.startsWith(accepted.slice(0, -1))),
    );
}

type Found = { kind: ImageKind | null };

function* inspection(found: Found): Steps<Inspection> {
  const recognised = yield* recognise();
  if (!recognised) return { state: 'not-image', reason: 'signature' };
  found.kind = recognised.kind;
  const size = yield* recognised.size();
  return size ? { state: 'image', header: { ...recognised.kind, ...size } } : { state: 'not-image', reason: 'broken' };
}

/** The file from `offset` on, shorter than `length` only when it ends before. */
async function readWindow(handle: FileBytes, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return bytes.subarray(0, filled);
}
