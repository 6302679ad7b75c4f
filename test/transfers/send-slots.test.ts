import { expect } from 'chai';
import { createTurns } from '../../src/transfers/send-slots.ts';

describe('turns', () => {
  const noAbort = new AbortController().signal;
  /** Takes a turn, and notes it in `book` when it has it. */
  const take = async (turns: ReturnType<typeof createTurns>, name: string, book: string[], signal = noAbort) => {
    const end = await turns.take(signal);
    book.push(name);
    return end;
  };

  it('lets so many send at once, and the others in the order in which they came', async () => {
    const turns = createTurns(2);
    const book: string[] = [];
    const ends = ['a', 'b', 'c', 'd'].map((name) => take(turns, name, book));
    const [endA, endB] = await Promise.all(ends.slice(0, 2));
    expect(book).to.deep.equal(['a', 'b']);
    endB?.();
    await ends[2];
    expect(book).to.deep.equal(['a', 'b', 'c']);
    endA?.();
    await ends[3];
    expect(book).to.deep.equal(['a', 'b', 'c', 'd']);
  });

  it('gives no turn to somebody who left the line', async () => {
    const turns = createTurns(1);
    const book: string[] = [];
    const end = await turns.take(noAbort);
    const leaving = new AbortController();
    const gone = take(turns, 'gone', book, leaving.signal);
    const next = take(turns, 'next', book);
    const reason = new Error('enough');
    leaving.abort(reason);
    expect(await gone.catch((error) => error)).to.equal(reason);
    expect(await turns.take(leaving.signal).catch((error) => error)).to.equal(reason);
    end();
    await next;
    expect(book).to.deep.equal(['next']);
  });

  it('sends all away who wait or come when it closes, and lets go on who sends', async () => {
    const turns = createTurns(1);
    const end = await turns.take(noAbort);
    const waiting = turns.take(noAbort).catch((error) => error);
    const reason = new Error('closing');
    turns.close(reason);
    expect(await waiting).to.equal(reason);
    expect(await turns.take(noAbort).catch((error) => error)).to.equal(reason);
    end();
  });

  it('wants more begun the faster they are sent: none that would wait for seconds, and a bounded number', async () => {
    const turns = createTurns(4);
    expect(turns.wanted()).to.equal(4);
    const slow = await turns.take(noAbort);
    // The length of a turn is what it measures; this one lasts longer than what is begun ahead for.
    const until = performance.now() + 220;
    while (performance.now() < until) await new Promise(setImmediate);
    slow();
    expect(turns.wanted()).to.equal(4);
    for (let n = 0; n < 200; n++) (await turns.take(noAbort))();
    expect(turns.wanted()).to.equal(4 + 32);
  });
});
