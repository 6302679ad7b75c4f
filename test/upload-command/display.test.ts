import { expect } from 'chai';
import { barDisplay, bars, size } from '../../src/upload-command/display.ts';

const legs = { total: 4_000_000, sent: 3_000_000, stored: 1_000_000, photos: 4, received: 3, delivered: 1 };

describe('the bars of hopla upload', () => {
  it('show both legs of the way', () => {
    expect(bars(legs, 2, 80)).to.deep.equal([
      `uploading    ${'█'.repeat(30)}${'░'.repeat(10)}  75 %  3 of 4, 1.5 MB/s`,
      `to the cloud ${'█'.repeat(10)}${'░'.repeat(30)}  25 %  1 of 4 delivered`,
    ]);
  });

  it('never wrap, and are full only when all is there', () => {
    for (const columns of [10, 30, 60, 200])
      for (const line of bars(legs, 2, columns)) expect(line.length).to.be.below(columns);
    const [uploading] = bars({ ...legs, sent: 3_999_999 }, 2, 80);
    expect(uploading).to.include(' 99 %').and.include('░');
  });

  it('stay below the lines, and are drawn over themselves', () => {
    let written = '';
    const display = barDisplay({ columns: 60, write: (text) => (written += text) });
    display.line('ticket');
    display.show(legs);
    display.line('✔ a.jpg');
    display.end();
    display.show(legs);
    const erased = '\x1b[2A\r\x1b[J';
    expect(written.split(erased)).to.have.lengthOf(3);
    expect(written.startsWith('ticket\nuploading')).to.equal(true);
    expect(written).to.include(`${erased}✔ a.jpg\nuploading`);
    expect(written.endsWith('delivered\n')).to.equal(true);
  });

  it('tell sizes in what people read', () => {
    expect([1, 270_000, 40_100_000].map(size)).to.deep.equal(['1 kB', '270 kB', '40.1 MB']);
  });
});
