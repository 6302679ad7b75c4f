/** Bytes of all pieces together. */
export function byteLength(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/** The first `bytes` of them, and the others; a piece on the border is in both, in part. */
export function splitAt(pieces: Buffer[], bytes: number): [Buffer[], Buffer[]] {
  const first: Buffer[] = [];
  const rest: Buffer[] = [];
  let left = bytes;
  for (const piece of pieces) {
    if (left > 0) first.push(piece.subarray(0, left));
    if (left < piece.length) rest.push(piece.subarray(Math.max(0, left)));
    left -= piece.length;
  }
  return [first, rest];
}

/**
 * Gives the memory of a piece back that has it for itself, as those of Node's HTTP parser do. The garbage collector would,
 * too, but it sees a small object, and lets megabytes of them gather.
 */
export function free({ buffer, byteLength }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}
