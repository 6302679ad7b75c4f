import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BUFFER_BYTES, createBufferPool } from '../../../src/staging/local/buffer-pool.ts';
import { startDiskThread } from '../../../src/staging/local/io-thread.ts';

describe('the disk thread', () => {
  const resources = new AsyncDisposableStack();
  const buffers = createBufferPool();
  let directory: string;
  let disk: ReturnType<typeof startDiskThread>;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    resources.defer(() => rm(directory, { recursive: true }));
    disk = startDiskThread({ directory, sniffs: false, buffers });
    resources.defer(() => disk.close());
  });
  after(() => resources.disposeAsync());

  it('tells each who asks the digests of a file, and its bytes where they are few', async () => {
    const sizes = [0, 1, 999, 1000, 1001, 1_000_000];
    const files = sizes.map((size) => Buffer.alloc(size, size % 256));
    for (const [n, file] of files.entries()) await writeFile(join(directory, `${n}`), file);
    const checked = await Promise.all(files.map((_, n) => disk.check(`${n}`, 1000)));
    const hex = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes).digest('hex');
    expect(checked).to.deep.equal(
      files.map((file) => ({
        ...{ sha256: hex('sha256', file), md5: hex('md5', file) },
        content: file.length <= 1000 ? file : null,
      })),
    );
  });

  it('says why a file cannot be read', async () => {
    const failed = await Promise.all(
      ['missing', '.'].map((name) => disk.check(name, 1000).catch((error) => error.code)),
    );
    expect(failed).to.deep.equal(['ENOENT', 'EISDIR']);
  });

  it('removes files, and says of each that is not there', async () => {
    const names = ['first', 'second', 'third'];
    for (const name of names) await writeFile(join(directory, name), name);
    const asked = ['first', 'never', 'second'].map((name) => disk.remove(name).catch((error) => error.code));
    expect(await Promise.all(asked)).to.deep.equal([undefined, 'ENOENT', undefined]);
    expect(names.filter((name) => existsSync(join(directory, name)))).to.deep.equal(['third']);
  });

  /** Orders that two full buffers are written, the second before the first has ended; resolves to what each said. */
  const writeTwo = (imageId: string, position: number) =>
    Promise.all(
      [position, position + BUFFER_BYTES].map((position) => {
        const lent = buffers.take(position) ?? expect.fail('no buffer');
        lent.add(Buffer.alloc(BUFFER_BYTES));
        return disk.write(imageId, null, lent).then(
          () => 'written',
          (error) => error.message,
        );
      }),
    );

  it('writes nothing that was ordered after what failed', async () => {
    await symlink('/dev/full', join(directory, 'full'));
    const because = 'ENOSPC: no space left on device, write';
    const [first, second] = await writeTwo('full', 0);
    expect(first).to.equal(because);
    // The second order reaches the thread while the first write is queued, or after it has failed.
    expect(second).to.be.oneOf([because, `the staged file ends at 0, before ${BUFFER_BYTES}`]);
  });

  it('leaves no hole in a file', async () => {
    const path = join(directory, 'short');
    await writeFile(path, 'ten bytes.');
    expect(await writeTwo('short', 4096)).to.deep.equal([
      'the staged file ends at 10, before 4096',
      'the staged file ends at 10, before 1052672',
    ]);
    expect(await readFile(path, 'utf8')).to.equal('ten bytes.');
  });

  it('turns away what is asked of it when it has ended', async () => {
    const ended = startDiskThread({ directory, sniffs: false, buffers: createBufferPool() });
    const late = ended.check('third', 1000).catch((error) => error.message);
    await ended.close();
    expect(await late).to.equal('the gateway is stopping');
    expect(await ended.remove('third').catch((error) => error.message)).to.equal('the gateway is stopping');
    expect(existsSync(join(directory, 'third'))).to.equal(true);
  });
});
