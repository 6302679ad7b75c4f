import { isOrientation, type Orientation } from '../model/image-facts.ts';
import { type Box, findBox, readBox } from './boxes.ts';
import { type Known, type Measured, measured, type Steps, sized, view } from './parser.ts';
import { numberOf, readDirectory, tags, tiffHeader } from './tiff-directory.ts';

type Track = { width: number; height: number; orientation: Orientation | null };

const nothing: Measured = { width: null, height: null, orientation: null, crop: null };

/** An image sequence without a still image: its largest track, as an alpha plane or thumbnails are tracks, too. */
export function* movie(moov: Box): Steps<Measured> {
  let largest: Track | null = null;
  for (let at = moov.body; at < moov.end; ) {
    const box = yield* readBox(at, moov.end);
    if (!box) break;
    const track = box.type === 'trak' ? yield* trackSize(box) : null;
    if (track && track.width * track.height > (largest ? largest.width * largest.height : 0)) largest = track;
    at = box.end;
  }
  return largest ? { ...largest, crop: null } : nothing;
}

/** ISO/IEC 14496-12 section 8.3.2: times of 32 or 64 bits, then how the track is shown, and its size before that. */
function* trackSize(trak: Box): Steps<Track | null> {
  const header = yield* findBox('tkhd', trak.body, trak.end);
  if (!header) return null;
  const matrixAt = (yield* view(header.body, 4)).getUint8(0) === 0 ? 40 : 52;
  if (header.end - header.body < matrixAt + 44) return null;
  const shown = yield* view(header.body + matrixAt, 44);
  // Numbers have 16 bits behind the point.
  const size = { width: shown.getUint32(36) >>> 16, height: shown.getUint32(40) >>> 16 };
  const matrix = [0, 4, 12, 16].map((at) => Math.sign(shown.getInt32(at))).join();
  return { ...size, orientation: turns[matrix] ?? null };
}

/** What the matrix makes of the axes, a, b, c, d. */
const turns: Readonly<Record<string, Orientation>> = {
  ...{ '-1,0,0,1': 2, '-1,0,0,-1': 3, '1,0,0,-1': 4, '0,1,1,0': 5, '0,1,-1,0': 6, '0,-1,-1,0': 7, '0,-1,1,0': 8 },
};

const canon = '85c0b687820f11e08111f4ce462b6a48';

/** Canon's CR3, as ExifTool reads it: in the movie a box of Canon's own has `CMT1`, the first directory of a TIFF. */
export function* cr3(_known: Known): Steps<Measured | null> {
  const moov = yield* findBox('moov', 0, Number.POSITIVE_INFINITY);
  const uuid = moov && (yield* findBox('uuid', moov.body, moov.end));
  if (!uuid || uuid.end - uuid.body < 16) return nothing;
  const id = yield* view(uuid.body, 16);
  if (id.getBigUint64(0).toString(16) + id.getBigUint64(8).toString(16) !== canon) return nothing;
  const directory = yield* findBox('CMT1', uuid.body + 16, uuid.end);
  if (!directory) return nothing;
  const header = yield* tiffHeader({ base: directory.body, end: directory.end, optional: false });
  const main = header && (yield* readDirectory(header.tiff, header.first));
  if (!main) return nothing;
  const of = (tag: number) => numberOf(header.tiff, main, tag);
  const orientation = of(tags.orientation);
  const size = sized(of(tags.width) ?? 0, of(tags.height) ?? 0);
  return measured(size ?? { width: null, height: null }, isOrientation(orientation) ? orientation : null);
}
