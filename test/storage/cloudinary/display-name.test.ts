import { expect } from 'chai';
import { displayName } from '../../../src/storage/display-name.ts';

describe('the display name of an image', () => {
  const names: [string, string | null, string | null][] = [
    ['keeps an ordinary name', 'Fête d’été.jpg', 'Fête d’été.jpg'],
    ['keeps quotes and separators of other formats', 'a"b\';=|&.jpg', 'a"b\';=|&.jpg'],
    ['keeps emoji', '👩‍🚀 moon.jpg', '👩‍🚀 moon.jpg'],
    ['takes line breaks out', 'a\r\nContent-Type: b\u2028.jpg', 'aContent-Type: b.jpg'],
    ['takes control characters out', 'a\0\x1b[2J\x7f.jpg', 'a[2J.jpg'],
    ['takes the last part of a path', 'C:\\photos\\..\\a.jpg', 'a.jpg'],
    ['takes the last part of a path with a line break', '../../etc\n/passwd', 'passwd'],
    ['repairs half a character', 'a\ud83d.jpg', 'a\ufffd.jpg'],
    ['is null for no name', null, null],
    ['is null when nothing is left', ' \0/ ', null],
  ];
  for (const [what, filename, expected] of names) {
    it(what, () => expect(displayName(filename)).to.equal(expected));
  }

  it('cuts at 255 bytes, between characters', () => {
    expect(displayName('x'.repeat(10_240))).to.equal('x'.repeat(255));
    expect(displayName('🌄'.repeat(10_240))).to.equal('🌄'.repeat(63));
  });

  it('is quick with megabytes', () => {
    const started = performance.now();
    displayName('\0/'.repeat(5_000_000));
    displayName('🌄'.repeat(2_000_000));
    expect(performance.now() - started).to.be.lessThan(1000);
  });
});
