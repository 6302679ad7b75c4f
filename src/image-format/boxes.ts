import { fourLetters, type Steps, view } from './parser.ts';

/** ISO/IEC 14496-12 section 4.2: a box, the first byte of its body and the byte behind it. */
export type Box = { type: string; body: number; end: number };

/** A box at `at` that must end within `limit`; null when its length is nonsense. A length of 0 means: to the end. */
export function* readBox(at: number, limit: number): Steps<Box | null> {
  const head = yield* view(at, 8);
  const type = fourLetters(head, 4);
  const length = head.getUint32(0);
  if (length === 0) return { type, body: at + 8, end: limit };
  const large = length === 1;
  const end = at + (large ? Number((yield* view(at + 8, 8)).getBigUint64(0)) : length);
  const body = at + (large ? 16 : 8);
  // `end` beyond `body` is also what makes every walk go forward.
  return end >= body && end <= limit ? { type, body, end } : null;
}

/** The first box of a type between two places; null when there is none, or a box before it is nonsense. */
export function* findBox(type: string, start: number, end: number): Steps<Box | null> {
  for (let at = start; at < end; ) {
    const box = yield* readBox(at, end);
    if (!box || box.type === type) return box;
    at = box.end;
  }
  return null;
}
