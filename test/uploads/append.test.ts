import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { appendBody } from '../../src/uploads/append.ts';
import { startDiskThread } from '../../src/uploads/disk-thread.ts';

describe('a body on its way into a staged file', () => {
  it('gives away the memory of what is written, also of what was gathered before, and touches nothing else', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    const disk = startDiskThread({ directory, sniffs: false });
    try {
      const own = [piece('abc'), piece('def')];
      const pool = piece('0123456789');
      const shared = pool.subarray(2, 5);
      const gathered = [...own, shared];
      const source = new PassThrough();
      const late = piece('xyz');
      source.end(late);
      const bytes = own.length * 3 + shared.length + late.length;
      const end = await appendBody({
        ...{ source, gathered, position: 0, limit: bytes, signal: new AbortController().signal },
        write: async (pieces, position) => void (await disk.write('image', position, bytes, pieces)),
      });
      expect(end).to.equal('complete');
      expect(await readFile(join(directory, 'image'), 'latin1')).to.equal('abcdef234xyz');
      expect(gathered).to.deep.equal([]);
      expect([...own, late].map(({ buffer }) => buffer.detached)).to.deep.equal([true, true, true]);
      expect(pool.toString('latin1')).to.equal('0123456789');
    } finally {
      await disk.close();
      await rm(directory, { recursive: true, force: true });
    }
  });
});

/** Bytes in a buffer of their own, as those of Node's HTTP parser are. */
function piece(text: string): Buffer<ArrayBuffer> {
  return Buffer.from(new Uint8Array(Buffer.from(text, 'latin1')).buffer);
}
