import { createHash } from 'node:crypto';
import { jpeg, png } from '../support/images.ts';
import { isBrief, type Options } from './options.ts';
import { createRandom, type Random } from './random.ts';

/** One photo of the world; its bytes are made when they are needed, and are always the same. */
export type Photo = {
  id: string;
  size: number;
  sha256: string;
  slot: string | null;
  /** Bytes per PATCH; null sends the rest in one. */
  chunkSize: number | null;
  withCreation: boolean;
  deferLength: boolean;
  tellSha256: boolean;
};

export type TicketPlan = {
  id: string;
  user: number;
  /** Milliseconds after the beginning. */
  startMs: number;
  /** How many images the ticket takes: fewer than there are photos, where clients race for the last place. */
  places: number;
  photos: Photo[];
  /** Uploads at once. */
  parallel: number;
  listeners: number;
  withUploadToken: boolean;
};

/** What clients will do, from the seed alone. */
export type Plan = { users: number; tickets: TicketPlan[] };

const KIB = 1024;

export function makePlan(options: Options): Plan {
  const { seed, minutes, photos: count } = options;
  const random = createRandom(seed).fork('plan');
  const users = random.int(2, 4);
  const tickets: TicketPlan[] = [];
  // The last clients come while things still go wrong.
  const spreadMs = minutes * 60_000 * 0.9;
  for (let made = 0; made < count; ) {
    const size = Math.min(random.int(1, 12), count - made);
    const slots = random.chance(0.75);
    const photos = Array.from({ length: size }, (_, index) => makePhoto(random, `p${made + index}`, slots, options));
    made += size;
    tickets.push({
      id: `t${tickets.length}`,
      user: random.int(0, users - 1),
      startMs: Math.round(random.next() * spreadMs),
      places: placesOf(random, size, slots),
      photos,
      parallel: random.int(1, 4),
      listeners: random.int(1, 2),
      withUploadToken: random.chance(0.5),
    });
  }
  return { users, tickets };
}

/**
 * A client without slots that loses the answer to its POST asks for a second place, and cannot know that it has one: such
 * tickets have places to spare, and are closed by their expiry. With slots a ticket of n photos has n places, or fewer:
 * then exactly that many may win.
 */
function placesOf(random: Random, photos: number, slots: boolean): number {
  if (!slots) return Math.min(1000, photos * 20);
  return photos > 2 && random.chance(0.2) ? photos - 1 : photos;
}

function makePhoto(random: Random, id: string, slots: boolean, options: Options): Photo {
  const { target } = options;
  const largest = isBrief(options) ? 200 : 4096;
  const [fewest, most] = random.pick([
    [2, 20],
    [20, 200],
    [50, 600],
    [10, 400],
    random.chance(0.3) ? [Math.min(1024, largest), largest] : [2, 100],
  ] as [number, number][]);
  const size = random.int(fewest * KIB, Math.min(most, largest) * KIB);
  const deferLength = slots && target === 'hopla' && random.chance(0.08);
  // Not to a stock server, which knows no slots: there most of them would be stored twice.
  const withCreation = target === 'hopla' && !deferLength && random.chance(0.5);
  const wanted = random.pick([null, 16 * KIB, 64 * KIB, 100_000, 256 * KIB]);
  const photo = {
    id,
    size,
    slot: slots ? `slot-${id}` : null,
    // In one piece, half of those that come with their creation.
    chunkSize: withCreation && random.chance(0.5) ? null : chunkOf(wanted, size),
    withCreation,
    deferLength,
    tellSha256: random.chance(0.5),
  };
  return { ...photo, sha256: createHash('sha256').update(bytesOf(photo)).digest('hex') };
}

/** A photo has 40 pieces at most: more would only take longer. */
function chunkOf(wanted: number | null, size: number): number | null {
  return wanted && Math.max(wanted, Math.ceil(size / 40));
}

/** The photo itself: a real image whose padding no other photo of the world has. */
export function bytesOf({ id, size }: Pick<Photo, 'id' | 'size'>): Buffer {
  const number = Number(id.slice(1));
  // Of seeds closer to each other the makers take the same noise for different parts.
  const options = { bytes: size, seed: 1 + number * 1000, width: 16, height: 16 };
  return number % 4 === 0 ? png(options) : jpeg(options);
}
