import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { runAdmin } from './admin.ts';
import { openDesk } from './desk.ts';

const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

describe('where hopla admin finds database and storage', function () {
  this.timeout(60_000);
  const releases: (() => unknown)[] = [];
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-admin-'));
    releases.push(() => rm(directory, { recursive: true, force: true }));
  });
  afterEach(async () => {
    for (const release of releases.splice(0).reverse()) await release();
  });

  const admin = (args: string[], env: Record<string, string> = {}) => runAdmin(args, { DATA_DIR: directory, ...env });

  /** `npm start` in a DATA_DIR of its own. */
  async function startSandbox() {
    const { PATH = '' } = process.env;
    const env = { PATH, DATA_DIR: directory, PORT: '0', LOG_LEVEL: 'fatal' };
    const child = spawn(process.execPath, [program], { cwd: tmpdir(), env, stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    const stop = async () => {
      child.kill('SIGTERM');
      await ended;
    };
    releases.push(stop);
    let said = '';
    child.stdout.on('data', (piece) => {
      said += piece;
    });
    await until('the sandbox runs', () => said.includes('hopla is running'), 40_000);
    return { stop, ...(JSON.parse(await readFile(join(directory, 'sandbox.json'), 'utf8')) as Json) };
  }

  it('works with the sandbox while it runs, and without it afterwards', async () => {
    const sandbox = await startSandbox();
    const api = createApi(sandbox.url, sandbox.token);
    const [kept, deleted] = [await api.openTicket(1), await api.openTicket(1)];
    for (const ticket of [kept, deleted]) {
      await tusUpload(jpeg({ bytes: 20_000 }), tusOptions(ticket));
      await untilCompleted(api, ticket.id);
    }
    const running = await admin(['tickets', 'list', '--json']);
    expect(running.json.items.map(({ id }: Json) => id)).to.have.members([kept.id, deleted.id]);
    const assets = () => readdir(join(directory, 'cloudinary', 'records'));
    expect((await admin(['tickets', 'delete', deleted.id, '--remote', '--yes'])).code).to.equal(0);
    expect(await assets()).to.have.lengthOf(1);

    await sandbox.stop();
    const stopped = await admin(['tickets', 'show', kept.id, '--json']);
    expect(stopped.json).to.include({ status: 'completed' });
    expect((await admin(['tickets', 'delete', kept.id, '--remote', '--yes'])).code).to.equal(0);
    expect(await assets()).to.have.lengthOf(0);
    expect((await admin(['tickets', 'show', kept.id])).code).to.equal(1);
  });

  it('makes the database where there was none, for the gateway that comes later', async () => {
    expect((await admin(['users', 'create', 'first'])).code).to.equal(0);
    expect((await admin(['users', 'list', '--json'])).json.items).to.have.lengthOf(1);
  });

  it('prefers DATABASE_URL, and asks for the storage that goes with it', async () => {
    const desk = await openDesk();
    releases.push(desk.close);
    const env = { DATABASE_URL: desk.environment.DATABASE_URL };
    const ticket = await desk.ticket(1);
    expect((await admin(['tickets', 'show', ticket.id], env)).code).to.equal(0);
    const { code, stderr } = await admin(['tickets', 'delete', ticket.id, '--remote', '--yes'], env);
    expect(code).to.equal(1);
    expect(stderr).to.equal('error: Set CLOUDINARY_URL to the storage that the images of DATABASE_URL are in.\n');
    expect(await desk.row('tickets', ticket.id)).to.include({ expired: false });
    expect(await readdir(directory)).to.deep.equal([]);
  });

  it('does not believe the file of a sandbox that is gone', async () => {
    const gone = 'postgres://hopla:secret@127.0.0.1:1/hopla';
    const file = { url: 'http://127.0.0.1:1', token: 't', databaseUrl: gone, cloudinaryUrl: 'cloudinary://1:2@x' };
    await writeFile(join(directory, 'sandbox.json'), JSON.stringify(file));
    expect((await admin(['users', 'list', '--json'])).json.items).to.deep.equal([]);
  });
});
