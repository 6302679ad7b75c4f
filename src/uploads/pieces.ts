/** Bytes that follow upon each other, each piece in memory of its own, which can be given to another thread. */
export type Pieces = Uint8Array<ArrayBuffer>[];

/** Bytes of all pieces together. */
export function byteLength(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/** As many whole pieces as have about so many bytes together, and one at least. */
export function firstOf(pieces: Pieces, bytes: number): Pieces {
  let left = bytes;
  return pieces.filter(({ length }, n) => {
    left -= length;
    return n === 0 || left >= 0;
  });
}

/** The pieces without their first bytes. */
export function skip(pieces: Pieces, bytes: number): Pieces {
  let left = bytes;
  return pieces.flatMap((piece) => {
    const skipped = Math.min(left, piece.length);
    left -= skipped;
    return skipped < piece.length ? [piece.subarray(skipped)] : [];
  });
}
