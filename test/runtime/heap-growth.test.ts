import { expect } from 'chai';
import { runScript } from '../support/script.ts';

/** Prints how large the room for young objects is, in MiB, after 3 s in which many are made that live for a while. */
const script = (pauseMs: number) => `
  import { setTimeout } from 'node:timers/promises';
  import { getHeapSpaceStatistics } from 'node:v8';
  import { growWhileBusy } from '${new URL('../../src/runtime/heap-growth.ts', import.meta.url)}';
  growWhileBusy();
  let live = [];
  for (const end = performance.now() + 3_000; performance.now() < end; ) {
    for (let n = 0; n < 2_000; n++) live.push({ n, text: 'number ' + n });
    if (live.length > 100_000) live = [];
    await setTimeout(${pauseMs});
    // Busy between the pauses, whatever the machine: a turn of 4 ms.
    for (const turn = performance.now() + 4; performance.now() < turn; );
  }
  const room = getHeapSpaceStatistics().find((space) => space.space_name === 'new_space');
  console.log(room.space_size / 1024 / 1024);
  process.exit();
`;

async function roomAfter(pauseMs: number): Promise<number> {
  return Number(await runScript(script(pauseMs), ['--max-semi-space-size=16']));
}

describe('young memory', () => {
  it('grows in a process that is busy', async () => {
    expect(await roomAfter(0)).to.be.above(4);
  });

  it('stays small in one that is not, however much lives on', async () => {
    expect(await roomAfter(40)).to.be.within(0.5, 4);
  });
});
