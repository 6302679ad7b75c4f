import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pino from 'pino';
import { joinPeers, type Peers } from '../../src/cluster/membership-unix.ts';
import { until } from '../support/client.ts';

describe('the processes of one staging folder', () => {
  const log = pino({ level: 'silent' });
  const never = new AbortController().signal;
  let directory: string;
  let resources: AsyncDisposableStack;
  const enter = async (folder = directory): Promise<Peers> => {
    const peers = await joinPeers(folder, log);
    resources.defer(() => peers.close());
    return peers;
  };
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
    resources = new AsyncDisposableStack();
    resources.defer(() => rm(directory, { recursive: true, force: true }));
  });
  afterEach(() => resources.disposeAsync());

  it('know of each other, and hear of an end', async () => {
    const [first, second] = [await enter(), await enter()];
    await until('each knows the other', () => !first.alone && !second.alone);
    expect(await first.isGone(second.own)).to.equal(false);
    let ends = 0;
    first.onEnd(() => {
      ends += 1;
    });
    await second.close();
    await until('the first is alone', () => first.alone);
    expect(ends).to.equal(1);
    expect(await first.isGone(second.own)).to.equal(true);
    expect(await readdir(join(directory, '.peers'))).to.deep.equal([first.own]);
  });

  it('take one for gone that ends before it accepts who asks', async () => {
    const first = await enter();
    const name = '0123456789abcdef';
    const ending = createServer().listen(join(directory, '.peers', name));
    await once(ending, 'listening');
    const gone = first.isGone(name);
    ending.close();
    expect(await gone).to.equal(true);
  });

  it('take one that was killed for dead at once, and clear away what it left', async () => {
    const first = await enter();
    const program = `
      const { joinPeers } = await import(${JSON.stringify(new URL('../../src/cluster/membership-unix.ts', import.meta.url).href)});
      console.log((await joinPeers(${JSON.stringify(directory)}, { info() {} })).own);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [name] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
    await until('it is known', () => !first.alone);
    // Frozen is not dead: it may go on at any time.
    child.kill('SIGSTOP');
    expect(await first.isGone(name.trim())).to.equal(false);
    child.kill('SIGKILL');
    await until('it is gone', () => first.alone);
    expect(await first.askFor('image', name.trim(), never)).to.equal('gone');
    const second = await enter();
    expect(await readdir(join(directory, '.peers'))).to.have.members([first.own, second.own]);
  });

  it('hand over what they are asked for, or say that they did not', async () => {
    const [first, second] = [await enter(), await enter()];
    const asked: string[] = [];
    second.onAsked(async (imageId, to) => {
      asked.push(imageId);
      expect(to).to.equal(first.own);
      if (imageId === 'mine') throw new Error('no');
    });
    expect(await first.askFor('yours', second.own, never)).to.equal('done');
    const refusal = await first.askFor('mine', second.own, never).catch((error) => error);
    expect(refusal)
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/did not hand over mine/);
    expect(asked).to.deep.equal(['yours', 'mine']);
  });

  it('meet in a folder too deep for the address of a socket', async () => {
    const deep = join(directory, ...Array.from({ length: 4 }, () => 'd'.repeat(40)));
    const [first, second] = [await enter(deep), await enter(deep)];
    second.onAsked(async () => {});
    expect(await first.askFor('image', second.own, never)).to.equal('done');
    await second.close();
    expect(await first.askFor('image', second.own, never)).to.equal('gone');
    expect(await readdir(join(deep, '.peers'))).to.deep.equal([first.own]);
  });
});
