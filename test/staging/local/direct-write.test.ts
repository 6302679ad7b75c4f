import { type FileHandle, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BUFFER_BYTES, createBufferPool } from '../../../src/staging/local/buffer-pool.ts';
import { createWrite } from '../../../src/staging/local/direct-write.ts';

describe('a write to a staged file', () => {
  let directory: string;
  let path: string;
  let file: FileHandle;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    path = join(directory, 'image');
    file = await open(path, 'w+');
  });
  after(async () => {
    await file.close();
    await rm(directory, { recursive: true });
  });

  for (const position of [0, 100]) {
    it(`has the disk at work when it returns, so that the same bytes can be hashed meanwhile, from ${position} on`, async () => {
      const put = createWrite();
      const bytes = large(position);
      // Only then it is known whether this filesystem takes writes past the page cache.
      await put(path, file.fd, position, bytes);
      const before = writesUnderWay();
      const written = put(path, file.fd, position, bytes);
      const meanwhile = writesUnderWay();
      await written;
      expect(meanwhile - before).to.equal(1);
      expect((await readFile(path)).subarray(position, position + bytes.length).equals(bytes)).to.equal(true);
    });
  }

  it('puts one piece behind the other', async () => {
    const put = createWrite();
    const bytes = large(0);
    await put(path, file.fd, 0, bytes);
    await put(path, file.fd, bytes.length, bytes);
    expect((await readFile(path)).equals(Buffer.concat([bytes, bytes]))).to.equal(true);
  });
});

function writesUnderWay(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'FSReqCallback').length;
}

/** As much as a buffer holds, where in memory the disk wants what goes to `position`. */
function large(position: number): Uint8Array {
  const { memory, take } = createBufferPool();
  const lent = take(position);
  if (!lent) throw new Error('there is no buffer');
  lent.add(Buffer.alloc(BUFFER_BYTES, 'hopla'));
  const { at, length } = lent.place;
  return new Uint8Array(memory, at, length);
}
