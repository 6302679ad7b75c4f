import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';

const SCRIPT = `
  import { getHeapStatistics } from 'node:v8';
  import { collectInSpareTime } from '${new URL('../src/spare-memory.ts', import.meta.url)}';
  const size = () => getHeapStatistics().total_heap_size;
  collectInSpareTime();
  const small = size();
  let much = Array.from({ length: 500_000 }, (_, n) => ({ n, text: 'number ' + n }));
  const large = size();
  much = null;
  setTimeout(() => process.exit(1), 6_000);
  setInterval(() => size() < (small + large) / 2 && process.exit(0), 50);
`;

async function run(): Promise<number> {
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module', '--eval', SCRIPT], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  return code;
}

describe('spare memory', () => {
  it('is given back by a process that has nothing to do', async () => {
    expect(await run()).to.equal(0);
  });
});
