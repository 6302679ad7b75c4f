import { expect } from 'chai';
import { createSync } from '../../src/uploads/disk-sync.ts';

describe('waiting for the disk', () => {
  /** A disk that takes `ms.ms`, and says where it was waited for. */
  const slowDisk = (ms: { ms: number }) => {
    const places: string[] = [];
    const sync = createSync(
      () => {
        places.push('here');
        for (const end = performance.now() + ms.ms; performance.now() < end; );
      },
      async () => {
        places.push('elsewhere');
        await new Promise((resolve) => setTimeout(resolve, ms.ms));
      },
    );
    return { places, sync };
  };

  it('is done on the spot as long as the disk is quick, and elsewhere from when it is not', async () => {
    const disk = { ms: 0 };
    const { places, sync } = slowDisk(disk);
    for (let n = 0; n < 20; n++) await sync(1);
    expect(new Set(places)).to.deep.equal(new Set(['here']));
    disk.ms = 20;
    await sync(1);
    places.length = 0;
    await Promise.all(Array.from({ length: 10 }, () => sync(1)));
    expect(new Set(places)).to.deep.equal(new Set(['elsewhere']));
  });

  it('passes on what the disk says', async () => {
    const broken = () => {
      throw new Error('EIO');
    };
    const error = await createSync(broken, async () => {})(1).then(
      () => null,
      (thrown: Error) => thrown.message,
    );
    expect(error).to.equal('EIO');
  });
});
