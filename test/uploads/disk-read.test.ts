import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { startDiskThread } from '../../src/uploads/disk-thread.ts';

describe('the disk thread, asked for a small file', () => {
  const resources = new AsyncDisposableStack();
  let directory: string;
  let disk: ReturnType<typeof startDiskThread>;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    resources.defer(() => rm(directory, { recursive: true }));
    disk = startDiskThread({ directory, sniffs: false });
    resources.defer(() => disk.close());
  });
  after(() => resources.disposeAsync());

  it('gives each who asks its own bytes, and none where there are more, or no file', async () => {
    const sizes = [0, 1, 999, 1000, 1001];
    for (const size of sizes) await writeFile(join(directory, `${size}`), Buffer.alloc(size, size % 256));
    const read = await Promise.all([...sizes, 'missing', '.'].map((name) => disk.read(`${name}`, 1000)));
    expect(read.slice(0, 4)).to.deep.equal([0, 1, 999, 1000].map((size) => Buffer.alloc(size, size % 256)));
    expect(read.slice(4)).to.deep.equal([null, null, null]);
  });
});
