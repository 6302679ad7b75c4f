import { execFile } from 'node:child_process';
import { mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The disk of the staging folder: small, and the world's own, so that it can be filled. */
export type Disk = {
  /** Bytes in all. */
  bytes: number;
  /** Takes every free byte, as somebody else's files would. */
  fill(): Promise<void>;
  free(): Promise<void>;
  close(): Promise<void>;
};

const DISK_BYTES = 128 * 1024 * 1024;
const PIECE = Buffer.alloc(1024 * 1024, 0x2e);

/** Mounts a tmpfs at `directory`; null where that is not allowed. */
export async function mountDisk(directory: string): Promise<Disk | null> {
  await mkdir(directory, { recursive: true });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=0700`, 'tmpfs', directory]);
  } catch {
    // No root, no mount(8), or a container without that right: the world does without a full disk.
    return null;
  }
  const filler = join(directory, 'somebody-elses');
  return {
    bytes: DISK_BYTES,
    async fill() {
      await using file = await open(filler, 'w');
      for (const bytes of [PIECE, PIECE.subarray(0, 4096)]) await writeUntilFull(file, bytes);
    },
    free: () => rm(filler, { force: true }),
    async close() {
      // Lazily: a process that is being killed may still hold a file.
      await run('umount', ['--lazy', directory]).catch(() => {});
    },
  };
}

async function writeUntilFull(
  file: { write(bytes: Buffer): Promise<{ bytesWritten: number }> },
  bytes: Buffer,
): Promise<void> {
  try {
    for (;;) if ((await file.write(bytes)).bytesWritten < bytes.length) return;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
}
