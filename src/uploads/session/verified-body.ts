import { randomUUIDv7 } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { HoplaError } from '../../model/errors.ts';
import type { BufferPool } from '../../staging/local/buffer-pool.ts';
import type { Staging } from '../../staging/local/folder.ts';
import { assertEnd, hasContent, type UploadBody } from '../tus/upload-body.ts';
import { appendBody } from './body-writer.ts';
import { type Checksum, parseChecksum, readChecksum, startDigests } from './checksum.ts';

export type VerificationDeps = {
  staging: Pick<Staging, 'directory' | 'reserve' | 'release' | 'wrote'>;
  intake: { buffers: BufferPool };
};

export type Verification = {
  /** The waiting bytes count among those of the ticket and its owner. */
  userId: string;
  ticketId: string;
  /** Most bytes that the upload can take. */
  limit: number;
  /** Aborts when another request wants the upload, or the token has ended. */
  signal: AbortSignal;
};

/**
 * Hands the body of a request to `run`: as it comes, or, if the client sent a checksum with it, once all of it is here and right.
 * Throws 460 `upload-checksum-mismatch`, and 400 `malformed-request`, before `run` sees a byte.
 *
 * The size of a staged file is the upload's offset, so no byte may get there before it is known to be right: neither a crash nor
 * a broken connection may leave one. The body waits in a file without a name, which ends with the process.
 */
export async function withVerifiedBody<T>(
  { staging, intake }: VerificationDeps,
  request: IncomingMessage,
  { userId, ticketId, limit, signal }: Verification,
  run: (body: UploadBody) => Promise<T>,
): Promise<T> {
  // A creation may name the checksum of the whole file and bring none of it, as tusc.sh does.
  const expected = hasContent(request.headers) ? parseChecksum(request.headers) : null;
  const declared = Number(request.headers['content-length'] ?? limit);
  // A body that is too long by its own header is refused unread.
  if (expected === null || declared > limit) return run(request);
  const id = randomUUIDv7();
  await staging.reserve(id, { size: declared, position: 0 }, { userId, ticketId });
  try {
    await using file = await openNameless(join(staging.directory, `.checksum-${id}`));
    const digests = startDigests(expected);
    let bytes = 0;
    const end = await appendBody({
      ...{ source: request, position: 0, limit, buffers: intake.buffers, signal },
      async write(lent) {
        const piece = new Uint8Array(intake.buffers.memory, lent.place.at, lent.place.length);
        // At once: the next piece may come before the disk has this one.
        for (const digest of digests.values()) digest.update(piece);
        bytes = lent.end;
        await writeAll(file, piece, lent.position);
        staging.wrote(id, piece.length);
      },
    });
    if (end === 'too-long') throw new HoplaError('length-exceeded', `The upload takes ${limit} bytes more.`);
    assertEnd(end, signal);
    assertChecksum(digests, expected === 'trailer' ? readTrailer(request) : expected);
    return await run(bodyFrom(file, request, bytes));
  } finally {
    staging.release(id);
  }
}

/** The kernel removes a file without a name with its last handle, however the process ends. */
async function openNameless(path: string): Promise<FileHandle> {
  const file = await open(path, 'wx+', 0o600);
  await unlink(path);
  return file;
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

function readTrailer({ trailers }: IncomingMessage): Checksum {
  const value = trailers['upload-checksum'];
  if (value === undefined)
    throw new HoplaError('malformed-request', 'The announced trailer Upload-Checksum is missing.');
  return readChecksum(value);
}

function assertChecksum(digests: ReturnType<typeof startDigests>, { algorithm, digest }: Checksum): void {
  const actual = digests.get(algorithm)?.digest();
  if (actual?.equals(digest)) return;
  throw new HoplaError('upload-checksum-mismatch', `The ${algorithm} of the bytes is ${actual?.toString('base64')}.`);
}

/** The same body again, whose length is known now. */
function bodyFrom(file: FileHandle, request: IncomingMessage, bytes: number): UploadBody {
  const { 'transfer-encoding': _, ...headers } = request.headers;
  const body = file.createReadStream({ start: 0, autoClose: false });
  return Object.assign(body, { headers: { ...headers, 'content-length': `${bytes}` } });
}
