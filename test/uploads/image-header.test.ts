import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { createImageInspector, type Inspection, isAccepted } from '../../src/uploads/image-header.ts';
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
    for (const { name, bytes, ...expected } of samples()) {
      it(`finds type and pixels: ${name}`, async () => {
        expect(await look(bytes)).to.deep.equal({ state: 'image', header: expected });
      });

      it(`gives the same verdict byte by byte, and knows the type early: ${name}`, async () => {
        const { verdict, typed } = await drip(bytes);
        expect(verdict).to.deep.equal({ state: 'image', header: expected });
        expect(typed, 'bytes until the type is known').to.be.at.most(64);
      });

      it(`refuses what ends within the header: ${name}`, async () => {
        const { decided } = await drip(bytes);
        for (const length of [0, 1, 2, Math.floor(decided / 2), decided - 1]) {
          expect(await look(bytes.subarray(0, length)), `${length} of ${decided} bytes`).to.deep.equal({
            state: 'not-image',
            reason: 'truncated',
          });
        }
      });
    }

    for (const [format, make] of Object.entries(imageMakers)) {
      it(`measures a whole image with pixels: ${format}`, async () => {
        const verdict = await look(make({ width: 48, height: 32, bytes: 100_000 }));
        expect(verdict).to.have.property('state', 'image');
        expect(verdict).to.have.property('header').that.includes({ format, width: 48, height: 32 });
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
          .to.have.property('header')
          .that.includes(size);
      });
    }

    it('refuses a directory beyond the announced length at the byte that says so', async () => {
      const bytes = tiff({ width: 5, height: 5 }, { gap: 100_000 });
      const inspector = createImageInspector();
      expect(await inspector.file(inMemory(bytes), 7, 50_000)).to.have.property('state', 'need-more');
      expect(await inspector.file(inMemory(bytes), 8, 50_000)).to.deep.equal({
        state: 'not-image',
        reason: 'truncated',
      });
    });

    it('says from where on it is worth looking again', async () => {
      const bytes = tiff({ width: 5, height: 5 }, { gap: 100_000 });
      const verdict = await createImageInspector().file(inMemory(bytes), 1000, bytes.length);
      const kind = { format: 'tiff', contentType: 'image/tiff' };
      expect(verdict).to.deep.equal({ state: 'need-more', needs: 100_008 + 2, kind });
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

    it('passes over stray bytes before a JPEG’s frame, but not over any number', async () => {
      const comment = Uint8Array.of(0xff, 0xfe, 0, 2);
      const stray = (length: number) =>
        jpeg({ width: 30, height: 20 }, Buffer.concat([comment, Buffer.alloc(length, 0x20)]));
      expect(await look(stray(200_000)))
        .to.have.property('header')
        .that.includes({ width: 30, height: 20 });
      expect(await look(stray(300_000))).to.deep.equal({ state: 'not-image', reason: 'broken' });
    });

    it('survives 5,000 mutated files without a throw, a hang, a large read or a second opinion', async () => {
      // More CPU than a run by hand allows: here other tests and the worker's warm-up share the machine.
      const report = await fuzz({ count: 5000, seed: 20_260_101, cpuMs: 250, hangMs: 10_000 });
      expect(report.failures).to.deep.equal([]);
      expect(Object.values(report.verdicts).reduce((sum, times) => sum + times, 0)).to.equal(5000);
      expect(report.verdicts).to.include.keys('not-image', 'jpg', 'png', 'gif', 'webp', 'avif', 'heic', 'tiff', 'bmp');
    }).timeout(120_000);
  });

  describe('of camera files', () => {
    const real: Record<string, [contentType: string, width: number, height: number]> = {
      'camera.tiff': ['image/tiff', 635, 348],
      'canon.jpg': ['image/jpeg', 2048, 1536],
      'example.avif': ['image/avif', 800, 533],
      'example.heic': ['image/heic', 1280, 854],
      'img-5195.heic': ['image/heic', 2566, 3313],
      'iphone-hdr.jpg': ['image/jpeg', 3264, 2448],
      'iphone.heic': ['image/heic', 4032, 3024],
      'jolla.jpg': ['image/jpeg', 3264, 2448],
      'landscape-rotated.jpg': ['image/jpeg', 450, 600],
      'nikon-e950.jpg': ['image/jpeg', 800, 600],
      'nikon-gps.jpg': ['image/jpeg', 640, 480],
      'nokia.jpg': ['image/jpeg', 4608, 1976],
    };
    for (const [name, [contentType, width, height]] of Object.entries(real)) {
      it(`measures ${name}`, async function () {
        const path = join(photos, 'real', name);
        if (!existsSync(path)) return this.skip();
        await using handle = await open(path);
        const verdict = await createImageInspector().file(handle, (await handle.stat()).size);
        expect(verdict).to.have.property('header').that.includes({ contentType, width, height });
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
    const verdict = await inspector.file(inMemory(bytes), length, null);
    if (verdict.state !== 'need-more') return { verdict, decided: length, typed };
    expect(verdict.needs, 'bytes needed').to.be.above(length);
    if (verdict.kind) typed = Math.min(typed, length);
  }
  throw new Error(`undecided after all ${bytes.length} bytes`);
}
