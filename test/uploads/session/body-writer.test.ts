import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { BLOCK_BYTES, BUFFER_BYTES, createBufferPool, type Lent } from '../../../src/staging/local/buffer-pool.ts';
import { type DiskThread, startDiskThread } from '../../../src/staging/local/io-thread.ts';
import { appendBody } from '../../../src/uploads/session/body-writer.ts';
import { until } from '../../support/client.ts';

describe('a body on its way into a staged file', () => {
  const buffers = createBufferPool();
  let directory: string;
  let disk: DiskThread;

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    disk = startDiskThread({ directory, sniffs: false, buffers });
  });
  after(async () => {
    await disk.close();
    await rm(directory, { recursive: true, force: true });
  });
  const takeAll = (): Lent[] => {
    const lent: Lent[] = [];
    for (let one = buffers.take(0); one; one = buffers.take(0)) lent.push(one);
    return lent;
  };
  const write = (name: string) => async (lent: Lent) => void (await disk.write(name, null, lent));

  it('gives away the memory of what is written, and touches nothing else', async () => {
    const own = ['abc', 'def', 'xyz'].map(piece);
    const pool = piece('0123456789');
    const source = new PassThrough();
    for (const one of [...own, pool.subarray(2, 5)]) source.write(one);
    source.end();
    expect(await appendBody({ source, position: 0, limit: 12, buffers, write: write('small') })).to.equal('complete');
    expect(await readFile(join(directory, 'small'), 'latin1')).to.equal('abcdefxyz234');
    expect(own.map(({ buffer }) => buffer.detached)).to.deep.equal([true, true, true]);
    expect(pool.toString('latin1')).to.equal('0123456789');
  });

  it('arrives byte for byte, whatever its pieces and wherever in a block it begins', async () => {
    const bytes = Buffer.from(Array.from({ length: 3 * BUFFER_BYTES + 4711 }, (_, n) => (n * 31 + (n >> 8)) & 255));
    for (const [n, cuts] of [
      [0, 65_536],
      [1, 65_400],
      [BLOCK_BYTES - 1, 1_000_003],
      [BLOCK_BYTES + 7, 5_000],
    ].entries()) {
      const [begin = 0, step = 0] = cuts;
      // What another request brought.
      const before = new PassThrough();
      before.end(Buffer.from(bytes.subarray(0, begin)));
      const common = { limit: bytes.length, buffers, write: write(`${n}`) };
      await appendBody({ ...common, source: before, position: 0 });
      const source = new PassThrough();
      for (let at = begin; at < bytes.length; at += step) source.write(Buffer.from(bytes.subarray(at, at + step)));
      source.end();
      expect(await appendBody({ ...common, source, position: begin })).to.equal('complete');
      expect((await readFile(join(directory, `${n}`))).equals(bytes), `from ${begin} by ${step}`).to.equal(true);
    }
  });

  for (const [most, inUse] of [
    [2, 'while there are enough'],
    [1, 'while they are few'],
  ] as const) {
    it(`has ${most} of its buffers written at once at most, ${inUse}`, async () => {
      const all = takeAll();
      for (const one of all.splice(0, most === 1 ? 3 : all.length)) one.giveBack();
      const source = new PassThrough();
      source.end(Buffer.alloc(6 * BUFFER_BYTES, 1));
      let writing = 0;
      const seen: number[] = [];
      const end = appendBody({
        ...{ source, position: 0, limit: 6 * BUFFER_BYTES, buffers },
        async write() {
          seen.push(++writing);
          await delay(5);
          writing--;
        },
      });
      expect(await end).to.equal('complete');
      expect(Math.max(...seen)).to.equal(most);
      for (const one of all) one.giveBack();
    });
  }

  it('ends with the first of two failures, when neither is under way any more', async () => {
    const source = new PassThrough();
    source.write(Buffer.alloc(6 * BUFFER_BYTES, 1));
    let calls = 0;
    let ended = 0;
    const failure = await appendBody({
      ...{ source, position: 0, limit: 6 * BUFFER_BYTES, buffers },
      async write() {
        const call = ++calls;
        await delay(20 * call);
        ended = call;
        throw new Error(`failure ${call}`);
      },
    }).catch((error) => error.message);
    expect([failure, calls, ended]).to.deep.equal(['failure 1', 2, 2]);
  });

  it('waits while all buffers are in use, and leaves none behind', async () => {
    const lent = takeAll();
    const source = new PassThrough();
    source.end(Buffer.alloc(2 * BUFFER_BYTES, 1));
    let written = 0;
    const appending = appendBody({
      ...{ source, position: 0, limit: 2 * BUFFER_BYTES, buffers },
      async write({ place }) {
        written += place.length;
      },
    });
    expect(buffers.take(0)).to.equal(null);
    lent.pop()?.giveBack();
    expect(await appending).to.equal('complete');
    expect(written).to.equal(2 * BUFFER_BYTES);
    for (const one of lent.splice(1)) one.giveBack();
    const left = takeAll();
    expect(left.length).to.be.greaterThan(0);
    for (const one of [...left, ...lent]) one.giveBack();
  });

  it('hands a buffer from one to the next of thousands who wait for it and cannot write it', async () => {
    const lent = takeAll();
    const write = () => {
      throw new Error('no space left');
    };
    const sources = Array.from({ length: 10_000 }, () => new PassThrough());
    const appending = sources.map((source) => {
      source.end('photo');
      return appendBody({ source, position: 0, limit: 5, buffers, write });
    });
    await until('all to wait', () => sources.every((source) => source.isPaused()));
    lent.pop()?.giveBack();
    const ends = await Promise.allSettled(appending);
    expect(ends.filter(({ status }) => status === 'rejected')).to.have.length(10_000);
    const last = buffers.take(0);
    expect(last, 'it is free again').not.to.equal(null);
    for (const one of last ? [last, ...lent] : lent) one.giveBack();
  });

  it('is left as it is when it takes too long, and goes on later where it was', async () => {
    const source = new PassThrough();
    source.write('abc');
    const common = { source, limit: 6, buffers, write: write('slow') };
    expect(await appendBody({ ...common, position: 0, patienceMs: 30 })).to.equal('unfinished');
    expect(await readFile(join(directory, 'slow'), 'latin1')).to.equal('abc');
    source.end('def');
    expect(await appendBody({ ...common, position: 3 })).to.equal('complete');
    expect(await readFile(join(directory, 'slow'), 'latin1')).to.equal('abcdef');
  });

  it('loses nothing that comes while what came before is written and its time is up', async () => {
    const source = new PassThrough();
    const more = ['def', 'ghi', 'jkl', 'mno'];
    let offset = 0;
    const common = {
      ...{ source, limit: 15, buffers },
      async write(lent: Lent) {
        const next = more.shift();
        if (next) source.write(next);
        else source.end();
        await delay(5);
        await write('late')(lent);
        offset = lent.end;
      },
    };
    source.write('abc');
    expect(await appendBody({ ...common, position: 0, patienceMs: 1 })).to.equal('unfinished');
    expect(await appendBody({ ...common, position: offset, patienceMs: 1 })).to.equal('unfinished');
    expect(await appendBody({ ...common, position: offset })).to.equal('complete');
    expect(await readFile(join(directory, 'late'), 'latin1')).to.equal('abcdefghijklmno');
  });
});

/** Bytes in a buffer of their own, as those of Node's HTTP parser are. */
function piece(text: string): Buffer<ArrayBuffer> {
  return Buffer.from(new Uint8Array(Buffer.from(text, 'latin1')).buffer);
}
