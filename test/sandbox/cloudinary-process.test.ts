import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { v2 as cloudinary, type UploadApiResponse } from 'cloudinary';
import pino from 'pino';
import { startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { superviseCloudinary } from '../../packages/sandbox/cloudinary/supervisor.ts';
import { until } from '../support/client.ts';
import { png } from '../support/images.ts';
import { md5, rejection } from './cloudinary-client.ts';

const run = promisify(execFile);
const supervisor = resolve(import.meta.dirname, '../../packages/sandbox/cloudinary/supervisor.ts');

describe('the sandbox Cloudinary in a process of its own', function () {
  this.timeout(60_000);
  let closing: AsyncDisposableStack;
  let directory: string;
  /** Of plain http, which the SDK does not expect. */
  let agent: Agent;
  beforeEach(async () => {
    closing = new AsyncDisposableStack();
    agent = closing.adopt(new Agent(), (used) => used.destroy());
    directory = await mkdtemp(join(tmpdir(), 'sandbox-process-'));
    closing.defer(() => rm(directory, { recursive: true, force: true }));
  });
  afterEach(() => closing.disposeAsync());

  const options = () => ({ directory, port: 0, lastPort: 0 });

  /** The processes that serve the folder. */
  async function serving(): Promise<number[]> {
    const { stdout } = await run('ps', ['-ww', '-eo', 'pid=,stat=,command=']);
    const lines = stdout.split('\n').map((line) => line.trim().split(/\s+/));
    const ours = lines.filter(([, state, ...command]) => !state?.startsWith('Z') && isServer(command.join(' ')));
    return ours.map(([pid]) => Number(pid));
  }
  const isServer = (command: string) => command.includes('cloudinary/process.ts') && command.includes(directory);

  const sdk = ({ cloudinaryUrl }: { cloudinaryUrl: string }) => {
    const { username, password, hostname, searchParams } = new URL(cloudinaryUrl);
    const upload_prefix = searchParams.get('upload_prefix') ?? '';
    return { cloud_name: hostname, api_key: username, api_secret: password, upload_prefix, agent };
  };
  const upload = (server: { cloudinaryUrl: string }, public_id: string): Promise<UploadApiResponse> =>
    new Promise((done, fail) => {
      const answered = (error?: unknown, result?: UploadApiResponse) => (result ? done(result) : fail(error));
      cloudinary.uploader.upload_stream({ ...sdk(server), public_id }, answered).end(png());
    });

  it('is reported and started again when it dies, at the same address and with what it had', async () => {
    const lines: string[] = [];
    const log = pino({ level: 'error' }, { write: (line) => lines.push(line) });
    const server = await superviseCloudinary(options(), log);
    closing.defer(() => server.close());
    await upload(server, 'before');
    const [pid = 0, ...others] = await serving();
    expect(others).to.deep.equal([]);
    process.kill(pid, 'SIGKILL');
    await until('it answers again', () => cloudinary.api.ping(sdk(server)).then(Boolean, () => false), 20_000);
    expect(await cloudinary.api.resource('before', sdk(server))).to.include({ etag: md5(png()) });
    await upload(server, 'after');
    expect(await serving())
      .to.have.length(1)
      .and.not.to.include(pid);
    expect(lines.map((line) => JSON.parse(line))).to.have.length(1);
    expect(lines[0]).to.include('the local Cloudinary ended by itself').and.to.include('SIGKILL');

    await Promise.all([server.close(), server.close()]);
    expect(await serving(), 'none is started after the end').to.deep.equal([]);
    expect(lines, 'an end that was asked for is no news').to.have.length(1);
  });

  it('ends with the process that started it, however that ends, and leaves the folder to the next', async () => {
    const script = `import pino from 'pino';
      import { superviseCloudinary } from ${JSON.stringify(supervisor)};
      const { cloudinaryUrl } = await superviseCloudinary(${JSON.stringify(options())}, pino({ level: 'silent' }));
      console.log(cloudinaryUrl);`;
    const root = resolve(import.meta.dirname, '../..');
    const starter = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closing.defer(() => void starter.kill('SIGKILL'));
    const ended = once(starter, 'exit');
    const [line] = await once(starter.stdout, 'data');
    const cloudinaryUrl = `${line}`.trim();
    await upload({ cloudinaryUrl }, 'stays');
    starter.kill('SIGKILL');
    await ended;
    const next = await superviseCloudinary(options(), pino({ level: 'silent' }));
    closing.defer(() => next.close());
    expect(next.cloudinaryUrl, 'the same address and secret').to.equal(cloudinaryUrl);
    expect(await cloudinary.api.resource('stays', sdk(next))).to.include({ etag: md5(png()) });
    expect(await serving(), 'the old one is gone').to.have.length(1);
  });

  it('has its folder alone: a second server would take what the first is storing for left over', async () => {
    const first = await startSandboxCloudinary({ directory });
    closing.defer(() => first.close());
    const { message } = await rejection(superviseCloudinary(options(), pino({ level: 'silent' })));
    expect(message).to.match(/does not start: This DATA_DIR is in use by another running hopla \(pid \d+\)/);
    await until('the refused server has ended', async () => (await serving()).length === 0);
  });
});
