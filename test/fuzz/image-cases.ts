import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { samples } from './image-samples.ts';

/** One file to look at. The same seed, corpus and index always make the same case. */
export type Case = { name: string; bytes: Uint8Array };

type Random = (below: number) => number;

/** A file that is only in memory, for an inspector to read. */
export function inMemory(bytes: Uint8Array): Pick<FileHandle, 'read'> {
  const read = async (buffer: Uint8Array, offset: number, length: number, position: number) => {
    const part = bytes.subarray(position, position + length);
    buffer.set(part, offset);
    return { bytesRead: part.length, buffer };
  };
  return { read } as Pick<FileHandle, 'read'>;
}

/** Files of cameras, and files that broke decoders, are too many and not ours to keep: they lie beside, where they lie at all. */
export const photos = new URL('../../../shared/photos', import.meta.url).pathname;

/** Headers end far before; a whole photo in every case would only make copying slow. */
const keptOfAPhoto = 300 * 1024;

/** What cases are made from: of a large file the beginning, and all of it in `whole`. */
export type Origin = Case & { whole?: Uint8Array };

/** Generated samples first, then the files in and below a folder, where it exists. */
export function corpus(folder: string): Origin[] {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : [];
  const files = entries.filter((entry) => entry.isFile() && !/\.(md|txt)$/.test(entry.name));
  return [
    ...samples().map(({ name, bytes }) => ({ name, bytes })),
    ...files
      .map(({ name, parentPath }) => ({ name, whole: readFileSync(join(parentPath, name)) }))
      .map(({ name, whole }) => ({ name, whole, bytes: whole.subarray(0, keptOfAPhoto) })),
  ];
}

/** Every truncation of every small sample, and every four bytes of it once 0 and once 0xffffffff. */
type Systematic = { of: Case; at: number; what: 'cut' | 'zero' | 'ones' };

export function systematic(from: readonly Case[]): Systematic[] {
  const small = from.filter(({ bytes }) => bytes.length <= 2048);
  return small.flatMap((of) =>
    Array.from(of.bytes.keys()).flatMap((at) => (['cut', 'zero', 'ones'] as const).map((what) => ({ of, at, what }))),
  );
}

/** First every file as it is; then even cases walk through the systematic ones, and odd ones are mutated at random. */
export function makeCase(seed: number, index: number, from: readonly Origin[], fixed: readonly Systematic[]): Case {
  const origin = from[index];
  if (origin) return { name: `${origin.name}: as it is`, bytes: origin.whole ?? origin.bytes };
  // A prime stride visits all of them in as many steps, and a short run still sees some of each sample.
  const chosen = index % 2 === 0 ? fixed[((index / 2) * 7919) % fixed.length] : undefined;
  return chosen ? applySystematic(chosen) : mutated(randomFrom(seed, index), from);
}

function applySystematic({ of, at, what }: Systematic): Case {
  const name = `${of.name}: ${what} at ${at}`;
  if (what === 'cut') return { name, bytes: of.bytes.slice(0, at) };
  return { name, bytes: Uint8Array.from(of.bytes).fill(what === 'zero' ? 0 : 0xff, at, at + 4) };
}

const interesting = [0, 1, 2, 7, 8, 9, 16, 0x7f, 0xff, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];

type Mutation = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const mutations: Readonly<Record<string, Mutation>> = {
  truncate: (bytes, random) => bytes.slice(0, random(bytes.length + 1)),
  flip: (bytes, random) => {
    for (let left = 1 + random(8); left > 0; left -= 1) {
      const at = place(bytes, random);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    }
    return bytes;
  },
  number: (bytes, random) => {
    const value = Buffer.alloc(4);
    const chosen = interesting[random(interesting.length)] ?? 0;
    if (random(2) === 0) value.writeUInt32BE(chosen);
    else value.writeUInt32LE(chosen);
    const width = [1, 2, 4][random(3)] ?? 4;
    const at = Math.min(place(bytes, random), Math.max(0, bytes.length - width));
    if (bytes.length >= width) bytes.set(random(2) === 0 ? value.subarray(0, width) : value.subarray(4 - width), at);
    return bytes;
  },
  insert: (bytes, random) => {
    const at = place(bytes, random);
    const extra = Uint8Array.from({ length: random(40) }, () => random(256));
    return Buffer.concat([bytes.subarray(0, at), extra, bytes.subarray(at)]);
  },
  remove: (bytes, random) => {
    const at = place(bytes, random);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random(40))]);
  },
  splice: (bytes, random, other) =>
    Buffer.concat([bytes.subarray(0, place(bytes, random)), other.subarray(place(other, random))]),
  // Many boxes, many segments, many directory entries: what a walk would take for ever over.
  repeat: (bytes, random) => {
    const at = place(bytes, random);
    const part = bytes.subarray(at, at + 1 + random(40));
    const times = part.length === 0 ? 0 : Math.floor(random(100_000) / part.length);
    return Buffer.concat([bytes.subarray(0, at), ...Array.from({ length: times }, () => part), bytes.subarray(at)]);
  },
  noise: (bytes, random) => {
    const at = Math.min(bytes.length, 2 + random(40));
    return Buffer.concat([bytes.subarray(0, at), Uint8Array.from({ length: random(600) }, () => random(256))]);
  },
};

function mutated(random: Random, from: readonly Case[]): Case {
  const pick = () => from[random(from.length)] ?? { name: 'nothing', bytes: new Uint8Array(0) };
  const origin = pick();
  let bytes: Uint8Array = Uint8Array.from(origin.bytes);
  let name = `${origin.name}:`;
  for (let left = 1 + random(3); left > 0; left -= 1) {
    const entries = Object.entries(mutations);
    const [what, mutate] = entries[random(entries.length)] ?? ['nothing', (same: Uint8Array) => same];
    bytes = mutate(bytes, random, pick().bytes);
    name += ` ${what}`;
  }
  return { name, bytes };
}

/** A random place, mostly among the first bytes: that is where headers are. */
function place(bytes: Uint8Array, random: Random): number {
  const reach = [64, 1024, bytes.length][random(3)] ?? bytes.length;
  return random(Math.min(bytes.length, reach));
}

/** mulberry32, seeded by run and case: small, and the same everywhere. */
function randomFrom(seed: number, index: number): Random {
  let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return below <= 0 ? 0 : ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
