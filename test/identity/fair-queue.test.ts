import { expect } from 'chai';
import { createFairQueue, QueueFull } from '../../src/identity/fair-queue.ts';

describe('the queue of password checks', () => {
  /** A queue of one at a time; tasks end when they are told to. */
  function rig(length: number) {
    const queue = createFairQueue({ width: 1, length });
    const begun: string[] = [];
    const ends: (() => void)[] = [];
    const add = (key: string, name: string, signal = new AbortController().signal) => {
      const task = () => {
        begun.push(name);
        return new Promise<void>((resolve) => ends.push(resolve));
      };
      return queue.run(key, signal, task).then(
        () => 'done',
        (error: unknown) => (error instanceof QueueFull ? 'full' : 'left'),
      );
    };
    /** Ends what runs until nothing is left. */
    const drain = async () => {
      for (let end = ends.shift(); end; end = ends.shift()) {
        end();
        await new Promise(setImmediate);
      }
      return begun;
    };
    return { add, begun, drain };
  }

  it('lets keys take turns, each in its own order', async () => {
    const { add, drain } = rig(10);
    for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'c1', 'b2']) void add(name.charAt(0), name);
    expect(await drain()).to.deep.equal(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
  });

  it('refuses in a full queue the last of the longest line', async () => {
    const { add, drain } = rig(3);
    const a = ['a1', 'a2', 'a3', 'a4', 'a5'].map((name) => add('a', name));
    expect(await a[4], 'no room for more of its own').to.equal('full');
    const b = [add('b', 'b1'), add('b', 'b2')];
    expect(await a[3], 'its place is taken').to.equal('full');
    expect(await b[1]).to.equal('full');
    const c = add('c', 'c1');
    expect(await a[2]).to.equal('full');
    expect(await drain()).to.deep.equal(['a1', 'a2', 'b1', 'c1']);
    expect(await Promise.all([a[0], a[1], b[0], c])).to.deep.equal(['done', 'done', 'done', 'done']);
  });

  it('forgets those who leave, whose room is free at once', async () => {
    const { add, drain } = rig(2);
    const leaving = new AbortController();
    const first = add('a', 'a1', leaving.signal);
    const waiting = [add('a', 'a2', leaving.signal), add('a', 'a3', leaving.signal)];
    leaving.abort();
    expect(await Promise.all(waiting)).to.deep.equal(['left', 'left']);
    expect(await add('a', 'a4', leaving.signal), 'gone before it came').to.equal('left');
    const next = [add('a', 'a5'), add('a', 'a6')];
    expect(await drain()).to.deep.equal(['a1', 'a5', 'a6']);
    expect(await Promise.all([first, ...next]), 'what runs goes on').to.deep.equal(['done', 'done', 'done']);
  });

  it('goes on after a task that fails', async () => {
    const queue = createFairQueue({ width: 1, length: 1 });
    const { signal } = new AbortController();
    const failing = queue.run('a', signal, () => Promise.reject(new Error('failed')));
    const next = queue.run('a', signal, async () => 'done');
    expect(await failing.catch((error: Error) => error.message)).to.equal('failed');
    expect(await next).to.equal('done');
  });
});
