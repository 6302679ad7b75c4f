import { type ImageFacts, swapsSides } from '../model/image-facts.ts';
import { type ImageFormat, imageKinds } from '../model/image-kinds.ts';
import type { Ask, Known, Measured, Size, Steps } from './parser.ts';
import { recognise } from './signatures.ts';

// Why not a library. None can be asked "what do you need before you know", which is what a file that arrives in pieces
// takes, and none reads a late directory from disk. Measured on the corpus of test/fuzz: image-size 2.1 is quadratic in
// the number of boxes (512 KiB of crafted HEIC: 6 s of CPU), takes the largest item of a HEIC for its primary one, and
// finds BMP and TGA in noise; probe-image-size 7.5 knows no size of an iPhone's HEIC; file-type 22 knows no
// sizes, and its verdict on a prefix cannot be told from its verdict on the file.

/**
 * `need-more`: undecided, and asking again is useless before `needs` bytes from the start of the file are there; `formats`
 * are those that the file can be of, none before it is sure to be an image, and `size` is set once it is known. `not-image`:
 * no signature that is known, a header that no decoder takes, or one that the end of the file cuts off.
 */
export type Inspection =
  | { state: 'need-more'; needs: number; formats: readonly ImageFormat[]; size: Size | null }
  | { state: 'image'; facts: ImageFacts & { format: ImageFormat } }
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
  const known: Known = { formats: [], size: null };
  const steps = inspection(known);
  let turn = steps.next();
  let taken = 0;

  /** Feeds the parser from `bytes`, which are the file's from `offset` on, until it is done or asks for others. */
  function feed(bytes: Uint8Array, offset: number): Ask | Inspection {
    while (!turn.done) {
      const ask = turn.value;
      const start = ask.offset - offset;
      if (taken >= maxSteps) {
        if (!ask.optional) return { state: 'not-image', reason: 'broken' };
        turn = steps.next(none);
        continue;
      }
      if (start < 0 || start + ask.length > bytes.length) return ask;
      turn = steps.next(bytes.subarray(start));
      taken += ask.metered ? 1 : 0;
    }
    return turn.value;
  }

  return {
    file: async (handle, staged, total = staged) => {
      let here = staged;
      let next = feed(none, 0);
      while (!('state' in next)) {
        const { offset, length, optional } = next;
        const needs = offset + length;
        // With all of it staged, what is not here does not exist.
        const end = total !== null && staged >= total ? here : total;
        if (needs <= here) {
          const bytes = await readWindow(handle, offset, Math.min(Math.max(length, windowBytes), here - offset));
          // A file shorter than it was said to be.
          if (bytes.length < length) here = offset + bytes.length;
          next = feed(bytes, offset);
        } else if (end === null || needs <= end) {
          return { state: 'need-more', needs, ...known };
        } else if (optional) {
          turn = steps.next(none);
          next = feed(none, 0);
        } else return { state: 'not-image', reason: 'truncated' };
      }
      return next;
    },
  };
}

const none = new Uint8Array(0);

function* inspection(known: Known): Steps<Inspection> {
  const parser = yield* recognise(known);
  if (!parser) return { state: 'not-image', reason: 'signature' };
  const found = yield* parser(known);
  const [format] = known.formats;
  return found && format ? { state: 'image', facts: factsOf(format, found) } : { state: 'not-image', reason: 'broken' };
}

/** A crop that is larger than the picture is none. */
function factsOf(
  format: ImageFormat,
  { width, height, orientation, crop }: Measured,
): ImageFacts & { format: ImageFormat } {
  const fits = (part: number | null | undefined, whole: number | null) => part && whole && part <= whole;
  const shown = crop && fits(crop.width, width) && fits(crop.height, height) ? crop : { width, height };
  const [displayWidth, displayHeight] = swapsSides(orientation)
    ? [shown.height, shown.width]
    : [shown.width, shown.height];
  const { contentType } = imageKinds[format];
  return { contentType, format, width, height, orientation, displayWidth, displayHeight };
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
