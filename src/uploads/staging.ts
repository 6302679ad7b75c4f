import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, stat, statfs, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoplaError } from '../errors.ts';

/** Where images wait between their last byte here and the storage's receipt: a bounded spool on one disk. */
export type Staging = {
  /** Names this area for ever, whichever process serves it; kept in a file inside. */
  readonly id: string;
  readonly directory: string;
  pathOf(imageId: string): string;
  /** Bytes of the staged file so far; null when there is none. */
  sizeOf(imageId: string): Promise<number | null>;
  /** Cuts the file back to its first `bytes`. */
  cut(imageId: string, bytes: number): Promise<void>;
  /** Gives a file up that could not be fsynced: it is removed, at the latest before anybody looks at it again. */
  lose(imageId: string): Promise<void>;
  /** Removes the file; one that is not there is no error. */
  remove(imageId: string): Promise<void>;
  /** Sets `bytes` of the budget aside for an image of a user, or throws 507 `staging-full` or `user-staging-full`. */
  reserve(imageId: string, bytes: number, userId: string): Promise<void>;
  /** Notes an image that is here whatever the budget says: found at start, or admitted by another process. */
  track(imageId: string, bytes: number, unwritten: number, userId: string): void;
  /** Notes the size of an image: new here (then its user is needed), or not known before. */
  resize(imageId: string, bytes: number, userId?: string): void;
  /** Notes bytes written: they now show in what is free on the disk. */
  wrote(imageId: string, bytes: number): void;
  /** Notes how far another process, which writes it, has come with an image. */
  reached(imageId: string, offset: number): void;
  /** Gives back what an image had; harmless for one that has nothing. */
  release(imageId: string): void;
  /** Images that have something of the budget. */
  reserved(): string[];
  usage(): { images: number; reservedBytes: number; budgetBytes: number };
};

export type StagingOptions = {
  directory: string;
  budgetBytes: number;
  /** What one user may have of the budget; all of it, unless told. */
  userBudgetBytes?: number | undefined;
  freeBytes: number;
  /** Removes a file of the folder; rejects with ENOENT when it is not there. */
  unlink?: (name: string) => Promise<void>;
};

/** What one image has of the budget, and how much of that is not yet on the disk. */
type Reservation = { bytes: number; unwritten: number; userId?: string | undefined };
const nothing: Reservation = { bytes: 0, unwritten: 0 };

/** A client that was refused for lack of room may come back after so long, in milliseconds. */
const RETRY_AFTER_MS = 10_000;

/** How long a look at the disk is good for, in milliseconds, when it showed more than anybody writes in that time. */
const PLENTY_MS = 100;
const PLENTY_BYTES = 4 * 1024 ** 3;

/** Opens a staging area, making its folder (mode 0700) when needed. */
export async function openStaging(options: StagingOptions): Promise<Staging> {
  const { directory, budgetBytes, userBudgetBytes = Number.POSITIVE_INFINITY, freeBytes } = options;
  const { unlink: unlinkFile = (name) => unlink(join(directory, name)) } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const id = await readOrMakeId(directory);
  const reserved = new Map<string, Reservation>();
  const bytesOf = new Map<string, number>();
  let reservedBytes = 0;
  let unwrittenBytes = 0;

  const count = ({ userId, bytes }: Reservation, sign: 1 | -1) => {
    if (userId === undefined) return;
    const sum = (bytesOf.get(userId) ?? 0) + sign * bytes;
    if (sum > 0) bytesOf.set(userId, sum);
    else bytesOf.delete(userId);
  };

  const set = (imageId: string, next: Reservation | null) => {
    const before = reserved.get(imageId) ?? nothing;
    reservedBytes += (next ?? nothing).bytes - before.bytes;
    unwrittenBytes += (next ?? nothing).unwritten - before.unwritten;
    count(before, -1);
    count(next ?? nothing, 1);
    if (next) reserved.set(imageId, next);
    else reserved.delete(imageId);
  };

  /** In place, as every piece of an image comes to this: what is made anew each time lives until the next, and gets old. */
  const setUnwritten = (reservation: Reservation, bytes: number) => {
    unwrittenBytes += bytes - reservation.unwritten;
    reservation.unwritten = bytes;
  };

  const pathOf = (imageId: string) => join(directory, imageId);
  // After a failed fsync Linux marks the lost pages clean, and the next fsync would succeed without them. What is on the
  // disk is unknown, so the file must go; one that cannot be removed just then is removed before anybody looks at it.
  const lost = new Set<string>();
  const remove = async (imageId: string) => {
    await unlinkFile(imageId).catch((error) => {
      if (!hasErrno(error, 'ENOENT')) throw error;
    });
    lost.delete(imageId);
  };

  let seen = { bytes: 0, at: Number.NEGATIVE_INFINITY };
  /** Bytes free on the disk; from a moment ago, where they are plenty for what is `needed`. */
  const diskHas = async (needed: number): Promise<number> => {
    if (performance.now() - seen.at < PLENTY_MS && seen.bytes - freeBytes - needed > PLENTY_BYTES) return seen.bytes;
    const disk = await statfs(directory).catch(() => null);
    seen = { bytes: disk ? disk.bavail * disk.bsize : 0, at: performance.now() };
    return seen.bytes;
  };

  return {
    id,
    directory,
    pathOf,
    async sizeOf(imageId) {
      if (lost.has(imageId)) await remove(imageId);
      try {
        return (await stat(pathOf(imageId))).size;
      } catch (error) {
        if (hasErrno(error, 'ENOENT')) return null;
        throw error;
      }
    },
    cut: (imageId, bytes) => truncate(pathOf(imageId), bytes),
    async lose(imageId) {
      lost.add(imageId);
      const before = reserved.get(imageId) ?? nothing;
      set(imageId, { ...before, unwritten: before.bytes });
      // EIO, EROFS: the disk that just failed may fail this too; the next look tries again.
      await remove(imageId).catch(() => {});
    },
    remove,
    async reserve(imageId, bytes, userId) {
      // Set first, looked at after: two racing creations cannot both take the last room.
      set(imageId, { bytes, unwritten: bytes, userId });
      if ((bytesOf.get(userId) ?? 0) > userBudgetBytes) {
        set(imageId, null);
        throw new HoplaError(
          'user-staging-full',
          `Images of one user that wait for the storage have at most ${userBudgetBytes} bytes; try again later.`,
          { retryAfterMs: RETRY_AFTER_MS },
        );
      }
      if (reservedBytes <= budgetBytes && unwrittenBytes <= (await diskHas(unwrittenBytes)) - freeBytes) return;
      set(imageId, null);
      throw new HoplaError('staging-full', 'Too many images wait for the storage; try again later.', {
        retryAfterMs: RETRY_AFTER_MS,
      });
    },
    track: (imageId, bytes, unwritten, userId) => set(imageId, { bytes, unwritten, userId }),
    resize(imageId, bytes, userId) {
      const before = reserved.get(imageId) ?? { bytes, unwritten: bytes, userId };
      set(imageId, { ...before, bytes, unwritten: Math.max(0, before.unwritten - (before.bytes - bytes)) });
    },
    wrote(imageId, bytes) {
      const one = reserved.get(imageId);
      if (one) setUnwritten(one, Math.max(0, one.unwritten - bytes));
    },
    reached(imageId, offset) {
      const one = reserved.get(imageId);
      // Less than was known already is news from the past.
      if (one) setUnwritten(one, Math.min(one.unwritten, Math.max(0, one.bytes - offset)));
    },
    release: (imageId) => set(imageId, null),
    reserved: () => [...reserved.keys()],
    usage: () => ({ images: reserved.size, reservedBytes, budgetBytes }),
  };
}

const ID_FILE = '.staging-id';

/** Two processes may start at once on a new folder: link(2) lets exactly one of them name it. */
async function readOrMakeId(directory: string): Promise<string> {
  const path = join(directory, ID_FILE);
  const made = join(directory, `${ID_FILE}.${randomUUID()}`);
  const existing = await readFile(path, 'utf8').catch(() => null);
  if (existing) return existing.trim();
  await writeFile(made, `${randomUUID()}\n`, { mode: 0o600, flush: true });
  try {
    await link(made, path);
  } catch (error) {
    if (!hasErrno(error, 'EEXIST')) throw error;
  } finally {
    await unlink(made);
  }
  return (await readFile(path, 'utf8')).trim();
}

export function hasErrno(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
