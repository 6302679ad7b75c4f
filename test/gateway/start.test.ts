import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

describe('a start that fails', () => {
  let gateway: TestGateway;
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-start-'));
    gateway = await startTestGateway();
  });
  after(async () => {
    await gateway.close();
    await rm(directory, { recursive: true, force: true });
  });

  /** Starts a hopla that does not get far; resolves to what it says on standard error, and its exit code. */
  async function startInVain(settings: Record<string, string>) {
    const { DATABASE_URL, CLOUDINARY_URL } = gateway.config;
    const env = { PATH: process.env.PATH, DATA_DIR: directory, PORT: '0', DATABASE_URL, CLOUDINARY_URL, ...settings };
    const child = spawn(process.execPath, [main], { cwd: directory, env, stdio: ['ignore', 'ignore', 'pipe'] });
    try {
      const [[code], said] = await Promise.all([once(child, 'exit'), text(child.stderr)]);
      return { code, said };
    } finally {
      child.kill('SIGKILL');
    }
  }

  it('says that the port is in use and what to do, and ends with everything it had begun', async () => {
    const { port } = new URL(gateway.url);
    const { code, said } = await startInVain({ PORT: port });
    expect(said).to.equal(
      `Port ${port} of 127.0.0.1 is in use by another program. Stop that one, or take another port: PORT=${Number(port) + 1}\n`,
    );
    expect(code).to.equal(1);
  });

  it('says which setting leads to a database that does not let it in', async () => {
    const url = new URL(gateway.config.DATABASE_URL);
    url.pathname = '/nothing-of-that-name';
    const { code, said } = await startInVain({ DATABASE_URL: url.href });
    expect(said).to.match(/^The database server of DATABASE_URL does not let hopla in: .*"nothing-of-that-name"/);
    expect(code).to.equal(1);
  });
});
