import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { createGroupCommit } from '../../src/ledger/group-commit.ts';

describe('a group commit', () => {
  /** Commits at once what comes, and remembers which came together. */
  function create() {
    const batches: string[][] = [];
    const commit = createGroupCommit(async (items: string[]) => {
      batches.push(items);
      await setImmediate();
      if (items.includes('bad')) throw new Error('bad');
      return items.map((item) => item.toUpperCase());
    });
    return { batches, commit };
  }

  it('takes a lone item at once, patient or not', async () => {
    const { batches, commit } = create();
    const since = performance.now();
    for (const item of 'abcdefgh') expect(await commit(item, true)).to.equal(item.toUpperCase());
    expect(batches).to.have.length(8);
    // One that waited for others would do so for 25 ms.
    expect(performance.now() - since).to.be.lessThan(8 * 25);
  });

  it('lets patient ones wait for each other where many come, and for nobody else', async () => {
    const { batches, commit } = create();
    await Promise.all([commit('a'), commit('b')]);
    const first = ['c', 'd'].map((item) => commit(item, true));
    const before = batches.length;
    await Promise.all(first);
    expect(batches.slice(before)).to.deep.equal([['c', 'd']]);

    const two = [commit('e'), commit('f')];
    while (!batches.at(-1)?.includes('f')) await setImmediate();
    const patient = [commit('g', true)];
    await Promise.all(two);
    await setImmediate();
    patient.push(commit('h', true));
    await Promise.all(patient);
    expect(batches.slice(-2)).to.deep.equal([
      ['e', 'f'],
      ['g', 'h'],
    ]);
  });

  it('lets patient ones go with the first that is not', async () => {
    const { batches, commit } = create();
    const two = [commit('a'), commit('b')];
    await setImmediate();
    const patient = commit('c', true);
    await Promise.all(two);
    await Promise.all([patient, commit('d')]);
    expect(batches).to.deep.equal([
      ['a', 'b'],
      ['c', 'd'],
    ]);
  });

  it('lets all others wait for a moment, too, where many come', async () => {
    const { batches, commit } = create();
    await Promise.all([commit('a'), commit('b')]);
    const first = commit('c');
    // Longer than a lone one would need to be on its way, and no time at all.
    for (let turn = 0; turn < 100; turn++) await Promise.resolve();
    await Promise.all([first, commit('d')]);
    expect(batches).to.deep.equal([
      ['a', 'b'],
      ['c', 'd'],
    ]);
  });

  it('takes so many at once that patient ones need not wait, and no more', async () => {
    const { batches, commit } = create();
    await Promise.all(Array.from({ length: 100 }, (_, index) => commit(`${index}`, true)));
    expect(batches.map(({ length }) => length)).to.deep.equal([32, 32, 32, 4]);
  });

  it('makes nobody pay for the mistake of another', async () => {
    const { batches, commit } = create();
    const outcomes = await Promise.allSettled([commit('a'), commit('bad'), commit('b')]);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(['fulfilled', 'rejected', 'fulfilled']);
    expect(batches).to.deep.equal([['a', 'bad', 'b'], ['a'], ['bad'], ['b']]);
  });
});
