import { type Box, readBox } from './boxes.ts';
import { movie } from './movie.ts';
import { mirror, orientationOf, swapped, turn, upright } from './orientation.ts';
import { fourLetters, type Known, type Measured, measured, type Size, type Steps, view } from './parser.ts';

type Dimensions = { width: number; height: number };

/** What of the properties of an item counts: `ispe` its size, the others how it is shown (23008-12 section 6.5). */
type Property =
  | ({ type: 'ispe' | 'clap' } & Dimensions)
  | { type: 'irot'; quarters: number }
  | { type: 'imir'; axis: 'left-right' | 'top-bottom' };

/** Properties by their place in `ipco`, counted from 1 as `ipma` does, and where the `ipma` boxes are. */
type Properties = { byIndex: Map<number, Property>; associations: Box[] };

/** Image sequences may have a movie instead of a `meta` box. */
const sequenceBrands: readonly string[] = ['hevc', 'hevx', 'hevm', 'hevs', 'avis', 'msf1'];

/** 10,000 items with three one-byte associations each are 60 KiB; an iPhone photo has about 50. */
const maxAssociationBytes = 64 * 1024;

/**
 * HEIF (ISO/IEC 23008-12) and AVIF: the size of the primary item, as `pitm` and `ipma` point to its `ispe`. An iPhone's
 * photo is a grid of tiles with a thumbnail, and all of them have an `ispe` too. Where nothing says which one is meant,
 * the largest counts. `meta` may come after the image data. EXIF in such a file says nothing of how it is shown.
 */
export function* heif(_known: Known): Steps<Measured | null> {
  const brand = fourLetters(yield* view(8, 4), 0);
  for (let at = 0; at < Number.POSITIVE_INFINITY; ) {
    const top = yield* readBox(at, Number.POSITIVE_INFINITY);
    if (!top) return null;
    if (top.type === 'meta') return yield* metaSize(top.body + 4, top.end);
    if (top.type === 'moov' && sequenceBrands.includes(brand)) return yield* movie(top);
    at = top.end;
  }
  return null;
}

function* metaSize(start: number, end: number): Steps<Measured | null> {
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
  const size = largest(own);
  // 23008-12 section 6.5.3.1: every image item has an `ispe`, so a file without any is broken.
  return size ? shown(size, own) : measured(largest([...properties.byIndex.values()]));
}

function* primaryItem({ body }: Box): Steps<number> {
  const version = (yield* view(body, 4)).getUint8(0);
  return version === 0 ? (yield* view(body + 4, 2)).getUint16(0) : (yield* view(body + 4, 4)).getUint32(0);
}

function* readProperties(iprp: Box): Steps<Properties | null> {
  const byIndex = new Map<number, Property>();
  const associations: Box[] = [];
  for (let at = iprp.body; at < iprp.end; ) {
    const box = yield* readBox(at, iprp.end);
    if (!box) return null;
    if (box.type === 'ipco' && !(yield* collectProperties(box, byIndex))) return null;
    if (box.type === 'ipma') associations.push(box);
    at = box.end;
  }
  return { byIndex, associations };
}

function* collectProperties(ipco: Box, byIndex: Map<number, Property>): Steps<boolean> {
  let index = 1;
  for (let at = ipco.body; at < ipco.end; index += 1) {
    const box = yield* readBox(at, ipco.end);
    if (!box) return false;
    const property = yield* readProperty(box);
    if (property) byIndex.set(index, property);
    at = box.end;
  }
  return true;
}

function* readProperty({ type, body, end }: Box): Steps<Property | null> {
  if (type === 'ispe') {
    const size = yield* view(body + 4, 8);
    return { type, width: size.getUint32(0), height: size.getUint32(4) };
  }
  if (end === body) return null;
  // Section 6.5.10: quarters against the clock.
  if (type === 'irot') return { type, quarters: -((yield* view(body, 1)).getUint8(0) & 3) };
  // Section 6.5.12: which sides change places.
  if (type === 'imir')
    return { type, axis: ((yield* view(body, 1)).getUint8(0) & 1) === 0 ? 'top-bottom' : 'left-right' };
  if (type !== 'clap' || end - body < 16) return null;
  // 14496-12 section 12.1.4: width and height as fractions; where in the picture that is follows.
  const aperture = yield* view(body, 16);
  const fraction = (at: number) => Math.round(aperture.getUint32(at) / aperture.getUint32(at + 4));
  return { type, width: fraction(0), height: fraction(8) };
}

function* propertiesOf(item: number, { byIndex, associations }: Properties): Steps<Property[]> {
  for (const box of associations) {
    const length = box.end - box.body;
    if (length < 8 || length > maxAssociationBytes) continue;
    const indexes = associated(item, yield* view(box.body, length));
    if (indexes) return indexes.flatMap((index) => byIndex.get(index) ?? []);
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

/** Section 6.5.1: what changes an image is done in the order in which it is listed. */
function shown(size: Dimensions, properties: readonly Property[]): Measured {
  let turned = upright;
  let crop: Size | null = null;
  let changes = 0;
  for (const property of properties) {
    if (property.type === 'ispe') continue;
    if (property.type === 'irot') turned = turn(turned, property.quarters);
    else if (property.type === 'imir') turned = mirror(turned, property.axis);
    else {
      const { width, height } = property;
      crop = swapped(turned) ? { width: height, height: width } : { width, height };
      continue;
    }
    changes += 1;
  }
  return { ...size, orientation: changes > 0 ? orientationOf(turned) : null, crop };
}

function largest(properties: readonly Property[]): Dimensions | null {
  let most: Dimensions | null = null;
  for (const one of properties) {
    if (one.type !== 'ispe' || one.width * one.height <= (most ? most.width * most.height : 0)) continue;
    most = { width: one.width, height: one.height };
  }
  return most;
}
