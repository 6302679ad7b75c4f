import type { FileHandle } from 'node:fs/promises';
import { type ImageFormat, type ImageKind, recognise } from './image-signature.ts';
import type { Ask, Steps } from './image-steps.ts';

// Why not a library: file-type and image-size cannot tell "not an image" from "not enough bytes yet", and want every
// byte before a late directory in memory; image-size also measures what no decoder would (an SOF inside garbage, a
// width less its crop). What is needed here is small: recognise eight formats, find two numbers, never read or keep
// more than a bounded part of what an attacker wrote.

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
 * Leading bytes worth holding in memory while undecided: one APP1 segment of the largest length (2 + 65,535), which EXIF
 * with its thumbnail may fill, and as much again for ICC, MPF and the tables before a JPEG's size. Real camera files
 * are decided within 43 KiB, HEIC within 5 KiB. What needs more is read from the staged file by `inspectFile`.
 */
export const headerBytes = 128 * 1024;

/**
 * A step is one look at the file. 4,096 of them skip 256 MiB of full JPEG segments; the busiest camera file seen takes
 * 42. What takes more was made to be walked, not seen.
 */
const maxSteps = 4096;

/** Most steps follow closely upon each other: one read serves many. */
const windowBytes = 4096;

/**
 * Looks at the first bytes of a file. `total` is the length of the whole file, null while nobody knows it: a header that
 * reaches beyond it is cut off, which is so before the last byte is here. The verdict depends on the bytes alone: a
 * longer prefix refines `need-more` and never changes another one.
 */
export function inspectPrefix(prefix: Uint8Array, total: number | null): Inspection {
  const found: Found = { kind: null };
  const steps = inspection(found);
  let turn = steps.next();
  for (let count = 0; !turn.done; count += 1) {
    const { offset, length } = turn.value;
    const stopped = stop(turn.value, { here: prefix.length, total, count, found });
    if (stopped) return stopped;
    turn = steps.next(prefix.subarray(offset, offset + length));
  }
  return turn.value;
}

/**
 * The same look at a file of which `staged` bytes are on disk, by a bounded number of small reads wherever the header
 * leads: a TIFF keeps its directory, and a HEIC may keep its `meta`, behind the pixels. With `length`, the whole file's, equal to `staged`
 * the answer is never `need-more`. Rejects only when reading does.
 */
export async function inspectFile(
  handle: Pick<FileHandle, 'read'>,
  staged: number,
  length: number | null = staged,
): Promise<Inspection> {
  const found: Found = { kind: null };
  const steps = inspection(found);
  let here = staged;
  let total = length;
  let window = { offset: 0, bytes: new Uint8Array(0) };
  let turn = steps.next();
  for (let count = 0; !turn.done; ) {
    const ask = turn.value;
    const stopped = stop(ask, { here, total, count, found });
    if (stopped) return stopped;
    const start = ask.offset - window.offset;
    if (start >= 0 && start + ask.length <= window.bytes.length) {
      turn = steps.next(window.bytes.subarray(start, start + ask.length));
      count += 1;
    } else {
      window = await readWindow(handle, ask);
      // The file is shorter than it was said to be: believe the file, and judge the same ask again.
      if (window.bytes.length < ask.length) {
        here = window.offset + window.bytes.length;
        if (total !== null && total <= staged) total = here;
      }
    }
  }
  return turn.value;
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
type Bounds = { here: number; total: number | null; count: number; found: Found };

function* inspection(found: Found): Steps<Inspection> {
  const recognised = yield* recognise();
  if (!recognised) return { state: 'not-image', reason: 'signature' };
  found.kind = recognised.kind;
  const size = yield* recognised.size();
  return size ? { state: 'image', header: { ...recognised.kind, ...size } } : { state: 'not-image', reason: 'broken' };
}

/** The verdict when the look cannot go on, undefined when the asked bytes are here. */
function stop({ offset, length }: Ask, { here, total, count, found }: Bounds): Inspection | undefined {
  const end = offset + length;
  if (count >= maxSteps) return { state: 'not-image', reason: 'broken' };
  if (end <= here) return undefined;
  if (total !== null && end > Math.min(total, Math.max(here, total)))
    return { state: 'not-image', reason: 'truncated' };
  return { state: 'need-more', needs: end, kind: found.kind };
}

async function readWindow(handle: Pick<FileHandle, 'read'>, { offset, length }: Ask) {
  const bytes = new Uint8Array(Math.max(length, windowBytes));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return { offset, bytes: bytes.subarray(0, filled) };
}
