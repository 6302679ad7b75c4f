import { expect } from 'chai';
import { createLocker } from '../../src/cluster/local-lock.ts';

describe('the lock of an upload', () => {
  const never = new AbortController().signal;
  const ignore = () => {};

  it('is given to one at a time, in the order in which they came', async () => {
    const locker = createLocker(5_000);
    const order: number[] = [];
    let inside = 0;
    await Promise.all(
      Array.from({ length: 50 }, async (_, index) => {
        const lock = locker.newLock('a');
        await lock.lock(never, ignore);
        inside += 1;
        order.push(index);
        expect(inside).to.equal(1);
        await Promise.resolve();
        inside -= 1;
        await lock.unlock();
      }),
    );
    expect(order).to.deep.equal(Array.from({ length: 50 }, (_, index) => index));
  });

  it('is one for each upload', async () => {
    const locker = createLocker(5_000);
    await locker.newLock('a').lock(never, ignore);
    await locker.newLock('b').lock(never, ignore);
  });

  it('is asked for of whoever holds it, also of one who got it while others wait', async () => {
    const locker = createLocker(5_000);
    const asked: string[] = [];
    const [first, second, third] = [locker.newLock('a'), locker.newLock('a'), locker.newLock('a')];
    await first.lock(never, () => void asked.push('first'));
    const waiting = second.lock(never, () => void asked.push('second'));
    expect(asked).to.deep.equal(['first']);
    const last = third.lock(never, () => void asked.push('third'));
    await first.unlock();
    await waiting;
    expect(asked.at(-1)).to.equal('second');
    await second.unlock();
    await last;
    expect(asked).not.to.include('third');
  });

  it('passes over who gave up: after its time, or because its client left', async () => {
    const locker = createLocker(30);
    const holder = locker.newLock('a');
    await holder.lock(never, ignore);
    const leaving = new AbortController();
    const ends = await Promise.allSettled([
      locker.newLock('a').lock(never, ignore),
      (async () => {
        const waiting = locker.newLock('a').lock(leaving.signal, ignore);
        leaving.abort();
        await waiting;
      })(),
      locker.newLock('a').lock(AbortSignal.abort(), ignore),
    ]);
    for (const end of ends)
      expect(end).to.have.property('reason').that.includes({ code: 'upload-locked', status: 423 });
    const next = locker.newLock('a');
    const waiting = next.lock(never, ignore);
    await holder.unlock();
    await waiting;
    await next.unlock();
    await locker.newLock('a').lock(never, ignore);
  });
});
