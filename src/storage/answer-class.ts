import { HoplaError } from '../model/errors.ts';

/** Why no whole answer came: a cause of `storage-unavailable`. */
export class NoAnswer extends Error {
  override name = 'NoAnswer';
  /** Whether a connection that had been idle was closed by the store before a byte of an answer came over it. */
  readonly stale: boolean;

  constructor(what: string, { cause, stale = false }: { cause?: unknown; stale?: boolean } = {}) {
    super(what, { cause });
    this.stale = stale;
  }
}

/**
 * What a storage said to a put, by what it means for us: `refused` this image for good, `account` does not accept ours,
 * `pause` asked to be left alone, `mismatch` holds other bytes, `failure` any other answer, `silence` none that was whole.
 */
type AnswerClass = 'success' | 'refused' | 'account' | 'pause' | 'mismatch' | 'failure' | 'silence';

/** The class of what a put threw; null when the storage had no part in it. */
export function answerClassOf(error: unknown): AnswerClass | null {
  if (!(error instanceof HoplaError)) return null;
  switch (error.code) {
    case 'storage-refused':
      return 'refused';
    case 'storage-misconfigured':
      return 'account';
    case 'storage-mismatch':
      return 'mismatch';
    case 'storage-unavailable':
      if (error.retryAfterMs !== undefined) return 'pause';
      return error.cause instanceof NoAnswer ? 'silence' : 'failure';
    default:
      return null;
  }
}
