import { createHash } from 'node:crypto';
import {
  createImageInspector,
  type FileBytes,
  type ImageInspector,
  type Inspection,
} from '../../image-format/inspect.ts';

/** What is learnt of one file while its bytes pass: less than 1 KiB, and 4 KiB more while its header is looked for. */
export type Learnt = {
  /** Bytes hashed, from the start of the file. */
  readonly hashed: number;
  /** Hashes bytes that begin at `position`; those that are not the next ones are left out. */
  pass(bytes: Uint8Array, position: number): void;
  /** What can be said of the image with `staged` of its `total` bytes (null while nobody knows) in the file; null when nobody asks. */
  look(file: FileBytes, staged: number, total: number | null): Promise<Inspection | null>;
  /** Of all that passed, as lower-case hex. The end: nothing passes any more. */
  sha256(): string;
};

/** @param sniffs whether anybody wants to know what image it is */
export function createLearnt(sniffs: boolean): Learnt {
  const sha256 = createHash('sha256');
  let inspector: ImageInspector | null = sniffs ? createImageInspector() : null;
  let inspection: Inspection | null = null;
  let hashed = 0;
  return {
    get hashed() {
      return hashed;
    },
    pass(bytes, position) {
      if (position !== hashed) return;
      sha256.update(bytes);
      hashed += bytes.length;
    },
    async look(file, staged, total) {
      const useless = inspection?.state === 'need-more' && staged < inspection.needs && staged !== total;
      if (!inspector || useless) return inspection;
      inspection = await inspector.file(file, staged, total);
      if (inspection.state !== 'need-more') inspector = null;
      return inspection;
    },
    sha256: () => sha256.digest('hex'),
  };
}
