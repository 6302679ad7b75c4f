import { randomUUID } from 'node:crypto';
import { link, mkdir, readFile, stat, statfs, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createReservations, noRoom, type Owner } from '../reservations.ts';
import { BUFFER_BYTES } from './buffer-pool.ts';

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
  /** True when the image has room for its first `bytes`. */
  covers(imageId: string, bytes: number): boolean;
  /**
   * Sets room of the budget aside for an image; of one whose length is not known yet for a step beyond `position`. Throws 507
   * `staging-full` or `user-staging-full`, and then the image has what it had before.
   */
  reserve(imageId: string, room: Room, owner: Owner): Promise<void>;
  /** Notes an image of `bytes` that is here whatever the budget says. */
  track(imageId: string, bytes: number, owner: Owner): void;
  /** Notes an upload that is here whatever the budget says: found at start, or admitted by another process. */
  trackUpload(imageId: string, room: Room, owner: Owner): void;
  /** Notes bytes written: they now show in what is free on the disk. */
  wrote(imageId: string, bytes: number): void;
  /** Notes how far a known upload has come, which another process may write, and what is known of its size. */
  reached(imageId: string, room: Room): void;
  /** Gives back what an image had; harmless for one that has nothing. */
  release(imageId: string): void;
  /** Images that have something of the budget. */
  reserved(): string[];
  usage(): { images: number; reservedBytes: number; budgetBytes: number };
};

export type StagingOptions = {
  directory: string;
  budgetBytes: number;
  /** What one user and one ticket may have of the budget; all of it, unless told. */
  userBudgetBytes?: number;
  ticketBudgetBytes?: number;
  freeBytes: number;
  /** The most that an image of unknown length can turn out to be. */
  maxImageBytes?: number;
  /** How long an upload without a byte keeps its room, in milliseconds. */
  idleMs?: number;
  /** Removes a file of the folder; rejects with ENOENT when it is not there. */
  unlink?: (name: string) => Promise<void>;
};

/** The size of an image, null while nobody knows it, and how many of its bytes are written. */
export type Room = { size: number | null; position: number };

/** An image of unknown length has room for so many bytes more than are here: as many as may be on their way to the disk at once. */
const STEP_BYTES = 2 * BUFFER_BYTES;

/** How long a look at the disk is good for, in milliseconds, when it showed more than anybody writes in that time. */
const PLENTY_MS = 100;
const PLENTY_BYTES = 4 * 1024 ** 3;

/** Opens a staging area, making its folder (mode 0700) when needed. */
export async function openStaging(options: StagingOptions): Promise<Staging> {
  const { directory, budgetBytes, freeBytes } = options;
  const { maxImageBytes = Number.POSITIVE_INFINITY, idleMs = Number.POSITIVE_INFINITY } = options;
  const { userBudgetBytes: userBytes = budgetBytes, ticketBudgetBytes: ticketBytes = budgetBytes } = options;
  const { unlink: unlinkFile = (name) => unlink(join(directory, name)) } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const id = await readOrMakeId(directory);
  const reservations = createReservations({ budgetBytes, userBytes, ticketBytes }, idleMs);

  const reservationOf = ({ size, position }: Room, { userId, ticketId }: Owner) => {
    const bytes = size ?? Math.min(position + STEP_BYTES, Math.max(maxImageBytes, position));
    return { userId, ticketId, bytes, unwritten: Math.max(0, bytes - position) };
  };
  const writtenOf = (imageId: string) => {
    const { bytes, unwritten } = reservations.get(imageId) ?? { bytes: 0, unwritten: 0 };
    return bytes - unwritten;
  };
  const reached = (imageId: string, { size, position }: Room) => {
    const known = reservations.get(imageId);
    if (!known) return;
    const written = writtenOf(imageId);
    // Less than was known already is news from the past. But a length that is declared late needs less room than any image may.
    if (position > written) reservations.set(imageId, reservationOf({ size, position }, known));
    else if (size !== null && size < known.bytes)
      reservations.set(imageId, reservationOf({ size, position: written }, known));
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
      reservations.wrote(imageId, -writtenOf(imageId));
      // EIO, EROFS: the disk that just failed may fail this too; the next look tries again.
      await remove(imageId).catch(() => {});
    },
    remove,
    covers: reservations.covers,
    async reserve(imageId, room, owner) {
      const before = reservations.get(imageId);
      // Set first, looked at after: two racing creations cannot both take the last room.
      reservations.set(imageId, reservationOf(room, owner));
      const { unwrittenBytes } = reservations;
      const refusal =
        reservations.excessOf(owner) ??
        (unwrittenBytes > (await diskHas(unwrittenBytes)) - freeBytes ? noRoom() : null);
      if (!refusal) return;
      // Whoever ended the upload meanwhile has given everything back.
      if (reservations.get(imageId)) reservations.set(imageId, before);
      throw refusal;
    },
    track: (imageId, bytes, { userId, ticketId }) =>
      reservations.set(imageId, { userId, ticketId, bytes, unwritten: 0 }),
    trackUpload(imageId, room, owner) {
      if (reservations.get(imageId)) reached(imageId, room);
      else reservations.set(imageId, reservationOf(room, owner));
    },
    wrote: reservations.wrote,
    reached,
    release: (imageId) => reservations.set(imageId, null),
    reserved: reservations.ids,
    usage: () => ({ images: reservations.images, reservedBytes: reservations.reservedBytes, budgetBytes }),
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
