import { createCipheriv, createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** Bytes that look random, the same for the same seed: a stream cipher over nothing, at a gigabyte per second. */
export function noise(bytes: number, seed: number): Buffer {
  const key = createHash('md5').update(`${seed}`).digest();
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(bytes));
}

/**
 * Puts padding between the first and the last parts.
 * @param overhead bytes the padding takes when there is nothing in it
 * @param pad makes padding of `overhead` + the given number of bytes
 */
export function padded(
  bytes: number | undefined,
  overhead: number,
  before: Buffer[],
  pad: (content: number) => Buffer,
  after: Buffer[],
): Buffer {
  const smallest = [...before, ...after].reduce((sum, part) => sum + part.length, overhead);
  const content = (bytes ?? smallest) - smallest;
  if (content < 0) throw new RangeError(`This image takes at least ${smallest} bytes`);
  return Buffer.concat([...before, pad(content), ...after]);
}

export function pngChunk(type: string, data: Buffer = Buffer.alloc(0)): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  return Buffer.concat([Buffer.of(...be32(data.length)), typed, Buffer.of(...be32(crc32(typed)))]);
}

export function jpegSegment(marker: number, data: number[] | Buffer): Buffer {
  return Buffer.concat([Buffer.of(0xff, marker, ...be16(data.length + 2)), Buffer.from(data)]);
}

/** Comments of 4 + `content` bytes together: a segment holds 65,533, and fill bytes before a marker even out the rest. */
export function jpegComments(content: number, seed: number): Buffer {
  const parts: Buffer[] = [];
  let left = content + 4;
  while (left >= 4) {
    const data = Math.min(left - 4, 65_533);
    parts.push(jpegSegment(0xfe, noise(data, seed + parts.length)));
    left -= data + 4;
  }
  return Buffer.concat([Buffer.alloc(left, 0xff), ...parts]);
}

/** Each block has a DC difference and an end of block, ITU T.81 section F.1.2. */
export function jpegScan({ width, height, seed }: { width: number; height: number; seed: number }): Buffer {
  const bits = bitWriter();
  const shades = noise(Math.ceil(width / 8) * Math.ceil(height / 8), seed);
  let previous = 0;
  for (const byte of shades) {
    // 7 bits: a difference of two shades then always fits category 8.
    const shade = (byte >> 1) - 64;
    const difference = shade - previous;
    const category = 32 - Math.clz32(Math.abs(difference));
    bits.high(category, 4);
    bits.high(difference < 0 ? difference + 2 ** category - 1 : difference, category);
    bits.high(0, 1);
    previous = shade;
  }
  bits.pad(1);
  return Buffer.from(bits.bytes().flatMap((byte) => (byte === 0xff ? [0xff, 0] : [byte])));
}

export function gifBlocks(data: Buffer): Buffer {
  const blocks: Buffer[] = [];
  for (let at = 0; at < data.length; at += 255) {
    const block = data.subarray(at, at + 255);
    blocks.push(Buffer.of(block.length), block);
  }
  return Buffer.concat([...blocks, Buffer.of(0)]);
}

/** Sub-blocks and their end, 3 + `content` bytes together; a sub-block takes two bytes at least. */
export function gifComment(content: number, seed: number): Buffer {
  const blocks: Buffer[] = [];
  let left = content + 2;
  while (left > 0) {
    // Never leave a single byte, for which there is no sub-block.
    const size = left === 257 ? 255 : Math.min(left, 256);
    blocks.push(Buffer.of(size - 1), noise(size - 1, seed + blocks.length));
    left -= size;
  }
  return Buffer.concat([...blocks, Buffer.of(0)]);
}

export function riffChunk(type: string, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), Buffer.of(...le32(data.length)), data, Buffer.alloc(data.length % 2)]);
}

/** Bits into bytes: `high` fills from the high end as JPEG does, `low` from the low end as WebP does. */
export function bitWriter() {
  const bits: number[] = [];
  let highFirst = true;
  return {
    high(value: number, width: number) {
      for (let bit = width - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1);
    },
    low(value: number, width: number) {
      highFirst = false;
      for (let bit = 0; bit < width; bit += 1) bits.push((value >> bit) & 1);
    },
    pad(bit: 0 | 1) {
      while (bits.length % 8 !== 0) bits.push(bit);
    },
    bytes(): number[] {
      const bytes = Array<number>(Math.ceil(bits.length / 8)).fill(0);
      for (const [index, bit] of bits.entries()) {
        const place = highFirst ? 7 - (index % 8) : index % 8;
        bytes[index >> 3] = (bytes[index >> 3] ?? 0) | (bit << place);
      }
      return bytes;
    },
  };
}

export const be16 = (value: number) => [value >> 8, value & 0xff];
const be32 = (value: number) => [value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff];
export const le16 = (value: number) => be16(value).reverse();
export const le24 = (value: number) => be32(value).slice(1).reverse();
export const le32 = (value: number) => be32(value).reverse();
