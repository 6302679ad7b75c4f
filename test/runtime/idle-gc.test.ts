import { expect } from 'chai';
import { runScript } from '../support/script.ts';

/** How often the process looks, in milliseconds; it takes 60 looks for a calm. */
const LOOK_MS = 50;

/** Prints in which look half of what was made and thrown away is given back, while `activity` runs at each. */
const script = (activity: string) => `
  import { getHeapStatistics } from 'node:v8';
  import { collectInSpareTime } from '${new URL('../../src/runtime/idle-gc.ts', import.meta.url)}';
  const size = () => getHeapStatistics().total_heap_size;
  collectInSpareTime(${LOOK_MS});
  const small = size();
  let much = Array.from({ length: 500_000 }, (_, n) => ({ n, text: 'number ' + n }));
  const large = size();
  much = null;
  const kept = [];
  let looks = 0;
  setInterval(() => {
    looks += 1;
    ${activity};
    if (size() > (small + large) / 2 && looks < 200) return;
    console.log(looks);
    process.exit();
  }, ${LOOK_MS});
`;

async function looksUntilGivenBack(activity: string): Promise<number> {
  return Number(await runScript(script(activity), ['--expose-gc']));
}

describe('spare memory', () => {
  it('is given back in a calm, not in a pause', async () => {
    expect(await looksUntilGivenBack('')).to.be.within(45, 120);
  });

  it('is given back sooner by a process that makes more, when that takes little of its time', async () => {
    expect(await looksUntilGivenBack('kept.push(new Array(50_000).fill(looks))')).to.be.within(2, 14);
  });
});
