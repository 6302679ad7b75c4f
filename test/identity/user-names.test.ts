import { expect } from 'chai';
import { clientNetwork } from '../../src/identity/address.ts';
import { nameKey, UserName } from '../../src/identity/user-names.ts';

describe('user names', () => {
  const reasonFor = (name: string) =>
    UserName.safeParse(name)
      .error?.issues.map(({ message }) => message)
      .join();

  it('may be of any script in everyday use, with digits and signs', () => {
    for (const name of [
      ...[
        'anna',
        'Ánna-Łucja.O’Neil+1@example.com',
        'Наташа_7',
        'Γιώργος',
        '田中たろう',
        '田中taro',
        '王小明',
        '김철수kim',
      ],
      ...['محمد', 'שרה', 'अनिता', 'ไทย', 'cli:root', '😀', 'x'.repeat(100)],
    ])
      expect(reasonFor(name), name).to.equal(undefined);
  });

  it('have nothing that cannot be seen', () => {
    for (const hidden of [
      '\u200b',
      '\u200d',
      '\u202e',
      '\u2066',
      '\u00ad',
      '\u3164',
      '\u180e',
      '\ufe0f',
      '\u{e0061}',
      '\u2800',
      '\ue000',
      '\ud800',
    ])
      expect(reasonFor(`an${hidden}na`), hidden.codePointAt(0)?.toString(16)).to.match(/invisible/);
    for (const blank of [' ', '\u3000', '\u00a0', '\n', '\0', '\x1b', '\x85'])
      expect(reasonFor(`an${blank}na`)).to.match(/none of them a space/);
    for (const name of ['', 'x'.repeat(101)]) expect(reasonFor(name)).to.match(/1 to 100 characters/);
  });

  it('have no look-alikes of another script', () => {
    for (const name of [
      '\u0430nna',
      'ann\u0251\u0430',
      '\u03bfscar',
      'p\u0430ypal',
      '\u0555live',
      'ana\u30ce\u043e',
      '\u13aanna',
    ])
      expect(reasonFor(name), name).to.match(/one script/);
  });

  it('are kept in one spelling', () => {
    expect(UserName.parse('ａｎｎａ')).to.equal('anna');
    expect(UserName.parse('A\u0301nna')).to.equal('\u00c1nna');
    const keys = ['ÁNNA', 'ánna', 'A\u0301nna', 'Ａ\u0301nna'].map(nameKey);
    expect(new Set(keys).size).to.equal(1);
    expect(nameKey('ΟΔΟΣ')).to.equal(nameKey('οδος')).and.to.equal(nameKey('οδοσ'));
  });
});

describe('the address by which failures count', () => {
  it('is the network of 64 bits in IPv6, and the address in IPv4, however they are written', () => {
    for (const [address, network] of [
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
      ['2001:DB8:0001:2::', '2001:db8:1:2::/64'],
      ['[2001:db8:1:2::9]:4711', '2001:db8:1:2::/64'],
      ['::1', '0:0:0:0::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      ['192.0.2.1', '192.0.2.1'],
      ['192.0.2.1:4711', '192.0.2.1'],
      ['::ffff:192.0.2.1', '192.0.2.1'],
      ['::ffff:c000:201', '192.0.2.1'],
      ['unknown', 'unknown'],
      ['', ''],
    ] as const)
      expect(clientNetwork(address), address).to.equal(network);
  });
});
