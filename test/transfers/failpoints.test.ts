import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { passBy, readFailpoints } from '../../src/runtime/failpoints.ts';

describe('failpoints', () => {
  it('are off unless somebody asks for them', () => {
    for (const text of [undefined, '']) expect(readFailpoints(text)).to.equal(passBy);
    expect(passBy('upload.synced')).to.equal(undefined);
  });

  it('strike at the hit they name, once', () => {
    const reach = readFailpoints('upload.written#2=throw, transfer.begun=throw');
    expect(reach('upload.written')).to.equal(undefined);
    expect(() => reach('upload.written')).to.throw('failpoint upload.written');
    expect(reach('upload.written')).to.equal(undefined);
    expect(() => reach('transfer.begun')).to.throw('failpoint transfer.begun');
  });

  it('can wait until a file is gone', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    const file = join(directory, 'wait');
    await writeFile(file, '');
    let passed = false;
    const waiting = readFailpoints(`upload.synced=pause:${file}`)('upload.synced')?.then(() => {
      passed = true;
    });
    await setImmediate();
    expect(passed).to.equal(false);
    await rm(directory, { recursive: true });
    await waiting;
    expect(passed).to.equal(true);
  });

  for (const text of ['upload.synced', 'upload.synced=explode', 'no.such.point=kill', 'upload.synced=kill,']) {
    it(`refuse ${JSON.stringify(text)}, naming the points there are`, () => {
      expect(() => readFailpoints(text)).to.throw(/^HOPLA_FAILPOINTS cannot be understood: .*place\.claimed/s);
    });
  }
});
