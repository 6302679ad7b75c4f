import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { createFileSender } from '../../src/storage/file-sender.ts';

describe('the sender of staged files', () => {
  const bytes = randomBytes(3 * 256 * 1024 + 17);
  let folder: string;
  let file: FileHandle;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'hopla-sender-'));
    await writeFile(join(folder, 'photo'), bytes);
  });
  beforeEach(async () => {
    file = await open(join(folder, 'photo'));
  });
  afterEach(() => file.close());
  after(() => rm(folder, { recursive: true }));

  /** Looks at the bytes of a write only when it lets go of them, as a connection does that is slower than the disk. */
  function slowReader() {
    const seen: Buffer[] = [];
    const pieces: Buffer[] = [];
    const stream = new Writable({
      highWaterMark: 1,
      write(piece: Buffer, _encoding, taken) {
        pieces.push(piece);
        setTimeout(() => {
          seen.push(Buffer.from(piece));
          taken();
        }, 5);
      },
    });
    return { stream, seen, pieces };
  }

  it('brings a file into a stream byte for byte, and keeps a buffer untouched until the stream has taken it', async () => {
    const send = createFileSender(1);
    const { stream, seen } = slowReader();
    const reached: number[] = [];
    await send(file, stream, (position) => reached.push(position));
    while (Buffer.concat(seen).length < bytes.length) await delay(1);
    expect(Buffer.concat(seen).equals(bytes)).to.equal(true);
    expect(reached.at(-1)).to.equal(bytes.length);
  });

  it('uses the same two buffers for every piece, and for the next file', async () => {
    const send = createFileSender(1);
    const { stream, pieces } = slowReader();
    await send(file, stream);
    await send(file, stream);
    expect(pieces.length).to.equal(8);
    expect(new Set(pieces.map(({ buffer }) => buffer)).size).to.equal(2);
  });

  it('stops when the stream closes before it took the bytes, and never uses their buffer again', async () => {
    const send = createFileSender(1);
    const stuck: Buffer[] = [];
    const stream = new Writable({ write: (piece) => void stuck.push(piece) });
    const sent = send(file, stream);
    while (stuck.length === 0) await delay(1);
    stream.destroy();
    expect(await sent).to.equal(false);
    const { stream: next, pieces } = slowReader();
    await send(file, next);
    expect(pieces.map(({ buffer }) => buffer)).not.to.include(stuck[0]?.buffer);
  });
});
