import { fourLetters, type Size, type Steps, view } from './image-steps.ts';

/** ISO/IEC 14496-12 section 4.2: a box, the first byte of its body and the byte behind it. */
type Box = { type: string; body: number; end: number };

/** `ispe` sizes by their place in `ipco`, counted from 1 as `ipma` does, and where the `ipma` boxes are. */
type Properties = { sizes: Map<number, Dimensions>; associations: Box[] };
type Dimensions = { width: number; height: number };

/** Image sequences may have a movie instead of a `meta` box. */
const sequenceBrands: readonly string[] = ['hevc', 'hevx', 'hevm', 'hevs', 'avis', 'msf1'];

/** 10,000 items with three one-byte associations each are 60 KiB; an iPhone photo has about 50. */
const maxAssociationBytes = 64 * 1024;

/**
 * HEIF (ISO/IEC 23008-12) and AVIF: the size of the primary item, as `pitm` and `ipma` point to its `ispe`. An iPhone's
 * photo is a grid of tiles with a thumbnail, and all of them have an `ispe` too. Where nothing says which one is meant,
 * the largest counts. `meta` may come after the image data.
 */
export function* isobmffSize(): Steps<Size | null> {
  const brand = fourLetters(yield* view(8, 4), 0);
  for (let at = 0; at < Number.POSITIVE_INFINITY; ) {
    const top = yield* readBox(at, Number.POSITIVE_INFINITY);
    if (!top) return null;
    if (top.type === 'meta') return yield* metaSize(top.body + 4, top.end);
    if (top.type === 'moov' && sequenceBrands.includes(brand)) return { width: null, height: null };
    at = top.end;
  }
  return null;
}

/** A box at `at` that must end within `limit`; null when its length is nonsense. A length of 0 means: to the end. */
function* readBox(at: number, limit: number): Steps<Box | null> {
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

function* metaSize(start: number, end: number): Steps<Size | null> {
  let primary: number | null = null;
  let properties: Properties | null = null;
  for (let at = start; at < end && (primary === null || properties === null); ) {
    const box = yield* readBox(at, end);
    if (!box) return null;
    if (box.type === 'pitm') primary = yield* primaryItem(box);
    if (box.type === 'iprp') properties = yield* readProperties(box);
    at = box.end;
  }
  if (!properties) return null;
  const own = primary === null ? [] : yield* propertiesOf(primary, properties);
  // 23008-12 section 6.5.3.1: every image item has an `ispe`, so a file without any is broken.
  return largest(own) ?? largest([...properties.sizes.values()]);
}

function* primaryItem({ body }: Box): Steps<number> {
  const version = (yield* view(body, 4)).getUint8(0);
  return version === 0 ? (yield* view(body + 4, 2)).getUint16(0) : (yield* view(body + 4, 4)).getUint32(0);
}

function* readProperties(iprp: Box): Steps<Properties | null> {
  const sizes = new Map<number, Dimensions>();
  const associations: Box[] = [];
  for (let at = iprp.body; at < iprp.end; ) {
    const box = yield* readBox(at, iprp.end);
    if (!box) return null;
    if (box.type === 'ipco' && !(yield* collectSizes(box, sizes))) return null;
    if (box.type === 'ipma') associations.push(box);
    at = box.end;
  }
  return { sizes, associations };
}

function* collectSizes(ipco: Box, sizes: Map<number, Dimensions>): Steps<boolean> {
  let index = 1;
  for (let at = ipco.body; at < ipco.end; index += 1) {
    const box = yield* readBox(at, ipco.end);
    if (!box) return false;
    if (box.type === 'ispe') {
      const size = yield* view(box.body + 4, 8);
      sizes.set(index, { width: size.getUint32(0), height: size.getUint32(4) });
    }
    at = box.end;
  }
  return true;
}

function* propertiesOf(item: number, { sizes, associations }: Properties): Steps<Dimensions[]> {
  for (const box of associations) {
    const length = box.end - box.body;
    if (length < 8 || length > maxAssociationBytes) continue;
    const indexes = associated(item, yield* view(box.body, length));
    if (indexes) return indexes.flatMap((index) => sizes.get(index) ?? []);
  }
  return [];
}

/** 23008-12 section 9.3.2: wide item ids from version 1 on, wide property indexes by flag 1, their top bit "essential". */
function associated(item: number, ipma: DataView): number[] | null {
  const idBytes = ipma.getUint8(0) < 1 ? 2 : 4;
  const indexBytes = (ipma.getUint8(3) & 1) === 1 ? 2 : 1;
  for (let at = 8; at + idBytes + 1 <= ipma.byteLength; ) {
    const id = idBytes === 2 ? ipma.getUint16(at) : ipma.getUint32(at);
    const first = at + idBytes + 1;
    const count = ipma.getUint8(first - 1);
    at = first + count * indexBytes;
    if (id !== item || at > ipma.byteLength) continue;
    return Array.from({ length: count }, (_, nth) =>
      indexBytes === 2 ? ipma.getUint16(first + nth * 2) & 0x7fff : ipma.getUint8(first + nth) & 0x7f,
    );
  }
  return null;
}

function largest(sizes: readonly Dimensions[]): Dimensions | null {
  return sizes.reduce<Dimensions | null>(
    (most, size) => (size.width * size.height > (most ? most.width * most.height : 0) ? size : most),
    null,
  );
}
