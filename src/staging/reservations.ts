import { HoplaError } from '../model/errors.ts';

/** Whose image it is: its ticket, and the user who owns the ticket. */
export type Owner = { userId: string; ticketId: string };

/** The bytes that all images together, those of one user, and those of one ticket may have. */
export type Shares = { budgetBytes: number; userBytes: number; ticketBytes: number };

/**
 * Who has how much of the staging area's budget.
 *
 * A client that declares an image has room for it at once, and keeps the room as long as bytes come. After `idleMs` without a
 * byte the image keeps only what is written; its next byte asks for room again. A silent client holds nothing that others need.
 */
export type Reservations = {
  /** True when the image has room for its first `bytes`. */
  covers(imageId: string, bytes: number): boolean;
  /** Sets the room of an image, whatever the shares say. Null gives everything back. */
  set(imageId: string, next: (Owner & { bytes: number; unwritten: number }) | null): void;
  /** The room that an image has now; null for an image that nobody has told of. */
  get(imageId: string): Readonly<Reservation> | null;
  /** Notes `bytes` that were written, or cut off again where negative. */
  wrote(imageId: string, bytes: number): void;
  /** Why this owner's images have too much; null when they have not. Images that are idle have lost their room before. */
  excessOf(owner: Owner): HoplaError | null;
  ids(): string[];
  readonly images: number;
  readonly reservedBytes: number;
  /** Bytes that are reserved and not on the disk yet. */
  readonly unwrittenBytes: number;
};

type Reservation = Owner & { bytes: number; unwritten: number; movedAt: number };

/** A client that was refused for lack of room may come back after so long, in milliseconds. */
const RETRY_AFTER_MS = 10_000;

/** Idle images are looked for no more often than this, in milliseconds: a flood of refusals is not to pay for a look each. */
const LOOK_MS = 250;

export function createReservations(shares: Shares, idleMs: number): Reservations {
  const reserved = new Map<string, Reservation>();
  /** By the id of a user or a ticket. */
  const held = new Map<string, number>();
  let reservedBytes = 0;
  let unwrittenBytes = 0;
  let lookedAt = Number.NEGATIVE_INFINITY;

  const count = ({ userId, ticketId }: Owner, bytes: number) => {
    reservedBytes += bytes;
    for (const id of [userId, ticketId]) {
      const sum = (held.get(id) ?? 0) + bytes;
      if (sum > 0) held.set(id, sum);
      else held.delete(id);
    }
  };
  /** In place, as every piece of an image comes to this: an object made anew each time lives until the next piece, and gets old. */
  const setUnwritten = (one: Reservation, bytes: number) => {
    unwrittenBytes += bytes - one.unwritten;
    one.unwritten = bytes;
  };
  const endIfIdle = (one: Reservation, now: number) => {
    if (one.unwritten === 0 || now - one.movedAt < idleMs) return;
    count(one, -one.unwritten);
    one.bytes -= one.unwritten;
    setUnwritten(one, 0);
  };
  const endIdle = () => {
    const now = performance.now();
    if (now - lookedAt < LOOK_MS) return;
    lookedAt = now;
    for (const one of reserved.values()) endIfIdle(one, now);
  };

  return {
    covers(imageId, bytes) {
      const one = reserved.get(imageId);
      // Another process may have given its room away already.
      if (one) endIfIdle(one, performance.now());
      return one !== undefined && one.bytes >= bytes;
    },
    set(imageId, next) {
      const before = reserved.get(imageId);
      if (before) {
        count(before, -before.bytes);
        unwrittenBytes -= before.unwritten;
      }
      if (!next) return void reserved.delete(imageId);
      count(next, next.bytes);
      unwrittenBytes += next.unwritten;
      reserved.set(imageId, { ...next, movedAt: performance.now() });
    },
    get: (imageId) => reserved.get(imageId) ?? null,
    wrote(imageId, bytes) {
      const one = reserved.get(imageId);
      if (!one) return;
      setUnwritten(one, Math.min(one.bytes, Math.max(0, one.unwritten - bytes)));
      one.movedAt = performance.now();
    },
    excessOf({ userId, ticketId }) {
      endIdle();
      const { budgetBytes, userBytes, ticketBytes } = shares;
      if (reservedBytes > budgetBytes) return noRoom();
      if ((held.get(userId) ?? 0) > userBytes) return shareFull('user', userBytes);
      if ((held.get(ticketId) ?? 0) > ticketBytes) return shareFull('ticket', ticketBytes);
      return null;
    },
    ids: () => [...reserved.keys()],
    get images() {
      return reserved.size;
    },
    get reservedBytes() {
      endIdle();
      return reservedBytes;
    },
    get unwrittenBytes() {
      return unwrittenBytes;
    },
  };
}

export function noRoom(): HoplaError {
  return new HoplaError('staging-full', 'Too many images wait for the storage; try again later.', {
    retryAfterMs: RETRY_AFTER_MS,
  });
}

function shareFull(whose: 'user' | 'ticket', bytes: number): HoplaError {
  return new HoplaError(
    'user-staging-full',
    `Images of one ${whose} that wait for the storage have at most ${bytes} bytes; try again later.`,
    { retryAfterMs: RETRY_AFTER_MS },
  );
}
