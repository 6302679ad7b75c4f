import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { createImageInspector, type Inspection } from '../../src/image-format/inspect.ts';
import { isAccepted, pickerTypes } from '../../src/model/image-kinds.ts';
import { inMemory, photos } from '../fuzz/image-cases.ts';
import { fuzz } from '../fuzz/image-header.ts';
import {
  avif,
  bmp,
  ftyp,
  gif,
  heic,
  jpeg,
  png,
  samples,
  tiff,
  webpExtended,
  webpLossy,
} from '../fuzz/image-samples.ts';
import { imageMakers } from '../support/images.ts';

describe('the look at an image header', () => {
  describe('of every format', () => {
    for (const { name, bytes, needed, ...expected } of samples()) {
      it(`finds type and pixels: ${name}`, async () => {
        expect(await look(bytes)).to.deep.equal({ state: 'image', facts: expected });
      });

      it(`gives the same verdict byte by byte, and knows the type early: ${name}`, async () => {
        const { verdict, typed } = await drip(bytes);
        expect(verdict).to.deep.equal({ state: 'image', facts: expected });
        expect(typed, 'bytes until the type is known').to.be.at.most(64);
      });

      it(`refuses what ends within the header: ${name}`, async () => {
        const end = needed ?? (await drip(bytes)).decided;
        for (const length of [0, 1, 2, Math.floor(end / 2), end - 1]) {
          expect(await look(bytes.subarray(0, length)), `${length} of ${end} bytes`).to.deep.equal({
            state: 'not-image',
            reason: 'truncated',
          });
        }
      });

      if (needed === undefined) continue;
      it(`takes what ends before it says how it is turned: ${name}`, async () => {
        const { width, height } = expected;
        const unturned = { ...expected, orientation: null, displayWidth: width, displayHeight: height };
        for (const length of [needed, needed + 1]) {
          expect(await look(bytes.subarray(0, length))).to.deep.equal({ state: 'image', facts: unturned });
        }
      });
    }

    for (const [format, make] of Object.entries(imageMakers)) {
      it(`measures a whole image with pixels: ${format}`, async () => {
        const verdict = await look(make({ width: 48, height: 32, bytes: 100_000 }));
        expect(verdict).to.have.property('state', 'image');
        expect(verdict).to.have.property('facts').that.includes({ format, width: 48, height: 32 });
      });
    }
  });

  describe('of what is no image', () => {
    const others: Record<string, { bytes: Uint8Array; earliest: number }> = {
      text: { bytes: text('Hello, here is my photo'), earliest: 1 },
      'text that begins like a BMP': { bytes: text('BMW is a maker of cars'), earliest: 15 },
      'text that begins like a TIFF': { bytes: text('II. The second chapter'), earliest: 3 },
      html: { bytes: text('<!doctype html><script>alert(1)</script>'), earliest: 1 },
      svg: { bytes: text('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>'), earliest: 1 },
      pdf: { bytes: text('%PDF-1.7\n%\xe2\xe3\xcf\xd3\n'), earliest: 1 },
      zip: { bytes: text('PK\x03\x04\x14\0\0\0\x08\0'), earliest: 1 },
      'gif of no version': { bytes: text('GIF90a\x10\0\x10\0\0\0\0'), earliest: 4 },
      wav: { bytes: text('RIFF\x24\0\0\0WAVEfmt '), earliest: 10 },
      'mp4 of brand isom': { bytes: ftyp('isom', 'isom', 'mp41', 'avif'), earliest: 9 },
      'mp4 of brand mp42': { bytes: ftyp('mp42', 'isom', 'mp42'), earliest: 10 },
      quicktime: { bytes: ftyp('qt  ', 'qt  '), earliest: 9 },
    };
    for (const [name, { bytes, earliest }] of Object.entries(others)) {
      it(`knows it at byte ${earliest}: ${name}`, async () => {
        const { verdict, decided } = await drip(bytes);
        expect(verdict).to.deep.equal({ state: 'not-image', reason: 'signature' });
        expect(decided).to.equal(earliest);
      });
    }

    it('takes neither nothing nor a single byte for an image', async () => {
      expect(await look(new Uint8Array(0))).to.deep.equal({ state: 'not-image', reason: 'truncated' });
      expect(await look(Uint8Array.of(0xff))).to.deep.equal({ state: 'not-image', reason: 'truncated' });
    });

    it('refuses headers that no decoder takes', async () => {
      const broken: Record<string, Uint8Array> = {
        'png of no width': png({ width: 0, height: 5 }),
        'png without IHDR': Buffer.concat([
          png({ width: 5, height: 5 }).subarray(0, 12),
          text('JUNKJUNKJUNKJUNKJUNKJUNK'),
        ]),
        'webp of no height': webpLossy({ width: 5, height: 0 }),
        'bmp of no height': bmp({ width: 5, height: 0 }),
        'tiff of no width': tiff({ width: 0, height: 5 }),
        'avif of no size': avif({ width: 0, height: 0 }),
        'jpeg that ends before its frame': jpeg({ width: 5, height: 5 }, Uint8Array.of(0xff, 0xd9)),
        'jpeg that scans before its frame': jpeg({ width: 5, height: 5 }, Uint8Array.of(0xff, 0xda, 0, 2)),
        'jpeg with a segment of no length': jpeg({ width: 5, height: 5 }, Uint8Array.of(0xff, 0xe1, 0, 0)),
        'heic with a box of nonsense length': Buffer.concat([
          ftyp('heic'),
          text('\0\0\0\x07free'),
          heic({ width: 5, height: 5 }),
        ]),
      };
      for (const [name, bytes] of Object.entries(broken)) {
        expect(await look(bytes), name).to.deep.equal({ state: 'not-image', reason: 'broken' });
      }
    });
  });

  describe('of what an attacker claims', () => {
    const most = 0xffff_ffff;
    const half = 2 ** 31;
    const claims: Record<string, { bytes: Uint8Array; width: number; height: number }> = {
      jpeg: { bytes: jpeg({ width: 65_535, height: 65_535 }), width: 65_535, height: 65_535 },
      gif: { bytes: gif({ width: 65_535, height: 65_535 }), width: 65_535, height: 65_535 },
      png: { bytes: png({ width: half, height: most }), width: half, height: most },
      webp: { bytes: webpExtended({ width: 2 ** 24, height: 2 ** 24 }), width: 2 ** 24, height: 2 ** 24 },
      bmp: { bytes: bmp({ width: half - 1, height: -half }), width: half - 1, height: half },
      tiff: { bytes: tiff({ width: half, height: most }), width: half, height: most },
      bigtiff: { bytes: tiff({ width: half, height: most }, { big: true }), width: half, height: most },
      heic: { bytes: heic({ width: half, height: most }), width: half, height: most },
      avif: { bytes: avif({ width: most, height: half }), width: most, height: half },
    };
    for (const [name, { bytes, ...size }] of Object.entries(claims)) {
      it(`reports it faithfully: ${name}, ${size.width} × ${size.height}`, async () => {
        expect(await look(bytes))
          .to.have.property('facts')
          .that.includes(size);
      });
    }

    it('refuses a directory beyond the announced length at the byte that says so', async () => {
      const bytes = tiff({ width: 5, height: 5 }, { gap: 100_000 });
      const inspector = createImageInspector();
      expect(await inspector.file(inMemory(bytes), 8, 50_000)).to.have.property('state', 'need-more');
      expect(await inspector.file(inMemory(bytes), 9, 50_000)).to.deep.equal({
        state: 'not-image',
        reason: 'truncated',
      });
    });

    it('says from where on it is worth looking again', async () => {
      const bytes = tiff({ width: 5, height: 5 }, { gap: 100_000 });
      const verdict = await createImageInspector().file(inMemory(bytes), 1000, bytes.length);
      expect(verdict).to.deep.include({ state: 'need-more', needs: 100_008 + 2, size: null });
      expect(verdict).to.have.property('formats').that.includes.members(['tiff', 'dng']);
    });

    it('does not wait for what a file that is shorter than it was said to be will never hold', async () => {
      const bytes = png({ width: 5, height: 5 }).subarray(0, 20);
      expect(await createImageInspector().file(inMemory(bytes), 500)).to.deep.equal({
        state: 'not-image',
        reason: 'truncated',
      });
    });

    it('tires of endless segments, boxes and entries after a bounded number of reads', async () => {
      const segments = jpeg({ width: 5, height: 5 }, repeated(Uint8Array.of(0xff, 0xfe, 0, 2), 500_000));
      const boxes = Buffer.concat([
        ftyp('heic', 'heic'),
        repeated(text('\0\0\0\x08free'), 300_000),
        heic({ width: 5, height: 5 }),
      ]);
      const entries = Buffer.concat([text('II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0'), Buffer.alloc(1_000_000, 0xff)]);
      for (const bytes of [segments, boxes, entries]) {
        let reads = 0;
        const memory = inMemory(bytes);
        const read: typeof memory.read = (...parameters: unknown[]) => {
          reads += 1;
          return Reflect.apply(memory.read, memory, parameters);
        };
        const verdict = await createImageInspector().file({ read }, bytes.length);
        expect(verdict).to.deep.equal({ state: 'not-image', reason: 'broken' });
        expect(reads).to.be.at.most(20);
      }
    });

    it('loses no image to an endless directory of EXIF, nor its size to a long wait for it', async () => {
      const entries = Buffer.concat([text('Exif\0\0II*\0\x08\0\0\0\xff\xff'), Buffer.alloc(60_000, 0x12)]);
      const head = Uint8Array.of(0xff, 0xe1, (entries.length + 2) >> 8, (entries.length + 2) & 0xff);
      const photo = jpeg({ width: 30, height: 20 }, Buffer.concat([head, entries]));
      expect(await look(photo))
        .to.have.property('facts')
        .that.includes({ width: 30, height: 20, orientation: null });
      const chunk = Buffer.concat([Uint8Array.of(0, 0x0f, 0x42, 0x40), text('iCCP'), Buffer.alloc(1_000_004)]);
      const verdict = await createImageInspector().file(
        inMemory(png({ width: 30, height: 20 }, chunk)),
        100,
        2_000_000,
      );
      expect(verdict).to.deep.include({ state: 'need-more', formats: ['png'], size: { width: 30, height: 20 } });
    });

    it('passes over stray bytes before a JPEG’s frame, but not over any number', async () => {
      const comment = Uint8Array.of(0xff, 0xfe, 0, 2);
      const stray = (length: number) =>
        jpeg({ width: 30, height: 20 }, Buffer.concat([comment, Buffer.alloc(length, 0x20)]));
      expect(await look(stray(200_000)))
        .to.have.property('facts')
        .that.includes({ width: 30, height: 20 });
      expect(await look(stray(300_000))).to.deep.equal({ state: 'not-image', reason: 'broken' });
    });

    it('survives 5,000 mutated files without a throw, a hang, a large read or a second opinion', async () => {
      // More CPU than a run by hand allows: here other tests and the worker's warm-up share the machine.
      const report = await fuzz({ count: 5000, seed: 20_260_101, cpuMs: 250, hangMs: 10_000 });
      expect(report.failures).to.deep.equal([]);
      expect(Object.values(report.verdicts).reduce((sum, times) => sum + times, 0)).to.equal(5000);
      expect(report.verdicts).to.include.keys('not-image', 'jpg', 'png', 'gif', 'webp', 'avif', 'heic', 'tiff', 'bmp');
      expect(report.verdicts).to.include.keys('cr2', 'cr3', 'nef', 'dng', 'raf', 'rw2', 'iiq');
    }).timeout(120_000);
  });

  describe('of camera files', () => {
    // As ExifTool and libheif say.
    type Known = [format: string, width: number, height: number, orientation: number | null, shown?: [number, number]];
    const known: Record<string, Known> = {
      'real/camera.tiff': ['tiff', 635, 348, 1],
      'real/canon.jpg': ['jpg', 2048, 1536, 6],
      'real/example.avif': ['avif', 800, 533, null],
      'real/example.heic': ['heic', 1280, 854, null],
      'real/img-5195.heic': ['heic', 2566, 3313, 1],
      'real/iphone-hdr.jpg': ['jpg', 3264, 2448, 1],
      'real/iphone.heic': ['heic', 4032, 3024, 6],
      'real/jolla.jpg': ['jpg', 3264, 2448, 1],
      'real/landscape-rotated.jpg': ['jpg', 450, 600, 8],
      'real/nikon-e950.jpg': ['jpg', 800, 600, 1],
      'real/nikon-gps.jpg': ['jpg', 640, 480, 1],
      'real/nokia.jpg': ['jpg', 4608, 1976, 1],
      'cases/L_8__29x100.heif': ['heic', 64, 100, null, [29, 100]],
      'cases/frame_size.mpo': ['jpg', 56, 70, 1],
      'cases/image-size-sample.heic': ['heic', 124, 456, null, [123, 456]],
      'cases/iphone-48MP.jpg': ['jpg', 8064, 6048, 6],
      'cases/irot-270.heic': ['heic', 640, 480, 6],
      'cases/kimono.crop.avif': ['avif', 722, 1024, null, [385, 330]],
      'cases/kimono.rotate90.avif': ['avif', 1024, 722, 6],
      'cases/money-256-(os2).bmp': ['bmp', 455, 341, null],
      'cases/samsung-s23u-200MP.jpg': ['jpg', 16_320, 12_240, 6],
      'malformed/corrupted.jpg': ['jpg', 3648, 2736, 1],
      'malformed/exif-index-error.jpg': ['jpg', 4032, 3024, 1],
      'malformed/exif-memory.jpg': ['jpg', 1600, 1200, 1],
      'malformed/exif-type.jpg': ['jpg', 3872, 2403, null],
      'malformed/invalid-exif.jpg': ['jpg', 636, 227, null],
    };
    for (const [name, [format, width, height, orientation, shown]] of Object.entries(known)) {
      it(`measures ${name}`, async function () {
        const path = join(photos, name);
        const [displayWidth, displayHeight] = shown ?? ((orientation ?? 1) >= 5 ? [height, width] : [width, height]);
        if (!existsSync(path)) return this.skip();
        await using handle = await open(path);
        const verdict = await createImageInspector().file(handle, (await handle.stat()).size);
        expect(verdict)
          .to.have.property('facts')
          .that.includes({ format, width, height, orientation, displayWidth, displayHeight });
      });
    }
  });
});

describe('the accepted types', () => {
  it('are named exactly, in any case and with spaces around, or by wildcard', () => {
    expect(isAccepted('image/jpeg', ['image/png', ' Image/JPEG '])).to.equal(true);
    expect(isAccepted('image/jpeg', ['image/*'])).to.equal(true);
    expect(isAccepted('image/jpeg', ['*/*'])).to.equal(true);
  });

  it('are no others', () => {
    expect(isAccepted('image/jpeg', [])).to.equal(false);
    expect(isAccepted('image/jpeg', ['image/png', 'image/jp', 'image', '*', 'video/*'])).to.equal(false);
    expect(isAccepted('images/jpeg', ['image/*'])).to.equal(false);
  });
});

describe('the types that a file picker offers', () => {
  it('are the accepted ones, with the names that their files have', () => {
    expect(pickerTypes(['image/jpeg', 'image/x-canon-cr3'])).to.equal(
      'image/jpeg,image/x-canon-cr3,.jpg,.jpeg,.jpe,.jfif,.mpo,.cr3',
    );
    expect(pickerTypes(['image/*']).split(',')).to.include.members(['image/png', '.png', '.dng', '.heic']);
  });

  it('are any, where any file is taken', () => {
    expect(pickerTypes(['*/*'])).to.equal('');
  });
});

function text(value: string): Buffer {
  return Buffer.from(value, 'latin1');
}

function repeated(part: Uint8Array, times: number): Buffer {
  return Buffer.concat(Array.from({ length: times }, () => part));
}

/** The verdict on a whole file. */
function look(bytes: Uint8Array): Promise<Inspection> {
  return createImageInspector().file(inMemory(bytes), bytes.length);
}

/** One look for every byte that arrives, while nobody knows the length: the verdict, and how many bytes it and the type took. */
async function drip(bytes: Uint8Array): Promise<{ verdict: Inspection; decided: number; typed: number }> {
  const inspector = createImageInspector();
  let typed = bytes.length;
  for (let length = 0; length <= bytes.length; length += 1) {
    // Whoever left out the length says it with the last byte.
    const verdict = await inspector.file(inMemory(bytes), length, length < bytes.length ? null : length);
    if (verdict.state !== 'need-more') return { verdict, decided: length, typed };
    expect(verdict.needs, 'bytes needed').to.be.above(length);
    if (verdict.formats.length > 0) typed = Math.min(typed, length);
  }
  throw new Error(`undecided after all ${bytes.length} bytes`);
}
