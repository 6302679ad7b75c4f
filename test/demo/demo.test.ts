import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { connectDatabase } from '../../src/database/connection.ts';
import { findUser, setUserPassword } from '../../src/identity/users.ts';
import { freePort } from '../chaos/ports.ts';
import { until } from '../support/client.ts';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const START_MS = 60_000;

describe('npm start on a bare machine', function () {
  this.timeout(90_000);
  let directory: string;
  let closing: AsyncDisposableStack;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-demo-'));
  });
  beforeEach(() => {
    closing = new AsyncDisposableStack();
  });
  afterEach(() => closing.disposeAsync());
  after(() => rm(directory, { recursive: true, force: true }));

  const path = (name: string) => join(directory, name);
  const sandboxFile = async () => JSON.parse(await readFile(path('sandbox.json'), 'utf8'));
  const modeOf = async (name: string) => (await stat(path(name))).mode & 0o777;

  /** Starts the server; `said` is all that it printed. */
  function launch(settings: Record<string, string> = {}) {
    const env = { PATH: process.env.PATH, DATA_DIR: directory, PORT: '0', LOG_LEVEL: 'warn', ...settings };
    const child: ChildProcess = spawn(process.execPath, [main], { cwd: tmpdir(), env, stdio: 'pipe' });
    const ended = once(child, 'exit');
    closing.defer(async () => {
      child.kill('SIGTERM');
      await ended;
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (piece) => (text += piece));
    return { ended, said: () => text };
  }

  async function start(settings?: Record<string, string>) {
    const running = launch(settings);
    const isUp = () => running.said().includes('hopla is running');
    await Promise.race([until('hopla runs', isUp, START_MS), running.ended]);
    expect(isUp(), running.said()).to.equal(true);
    return { said: running.said(), ...(await sandboxFile()) };
  }

  const login = async (url: string, password: string) => {
    const body = JSON.stringify({ username: 'demo', password });
    const answer = await fetch(`${url}/v1/auth/login`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    });
    return { status: answer.status, ...((await answer.json()) as { token?: string }) };
  };
  const statusOf = async (url: string, token: string) =>
    (await fetch(`${url}/v1/tickets`, { headers: { Authorization: `Bearer ${token}` } })).status;

  /** Changes the demo user's password behind the back of the running server. */
  async function changePassword(databaseUrl: string, password: string) {
    const db = connectDatabase(databaseUrl, { maxConnections: 1 });
    try {
      const user = await findUser(db, 'demo');
      await setUserPassword(db, user?.id ?? '', password);
    } finally {
      await db.destroy();
    }
  }

  it('is not ready before sandbox.json says how to get in, and that file was never open to others', async () => {
    await writeFile(path('sandbox.json.new'), '', { mode: 0o644 });
    await using leftOpen = await open(path('sandbox.json.new'), 'r');
    const port = await freePort();
    launch({ PORT: `${port}` });
    let early: unknown;
    await until(
      'it is ready',
      async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null);
        if (answer?.status !== 200) return false;
        early = existsSync(path('sandbox.json')) ? await sandboxFile() : 'not there';
        return true;
      },
      START_MS,
    );
    expect(early).to.have.all.keys('url', 'token', 'username', 'password', 'databaseUrl', 'cloudinaryUrl');
    expect(await leftOpen.readFile('utf8'), 'seen by who opened what a crash had left').to.equal('');
    expect(await modeOf('sandbox.json')).to.equal(0o600);
    for (const name of await readdir(directory)) {
      expect((await modeOf(name)) & 0o077, `${name} is closed to others`).to.equal(0);
    }
    const { url, token, password } = await sandboxFile();
    expect(password).to.match(/^([a-z2-9]{5}-){3}[a-z2-9]{5}$/);
    expect([(await login(url, password)).status, await statusOf(url, token)]).to.deep.equal([201, 200]);
  });

  it('prints the password and the token at the first start alone', async () => {
    const fresh = await mkdtemp(join(tmpdir(), 'hopla-demo-'));
    closing.defer(() => rm(fresh, { recursive: true, force: true }));
    const settings = { DATA_DIR: fresh };
    const first = launch(settings);
    await until('hopla runs', () => first.said().includes('hopla is running'), START_MS);
    const file = JSON.parse(await readFile(join(fresh, 'sandbox.json'), 'utf8'));
    expect(first.said().split(file.password)).to.have.length(2);
    expect(first.said()).to.include(file.token);
    expect(file.password, 'each folder has its own').not.to.equal((await sandboxFile()).password);

    const earlier = await sandboxFile();
    const { said, password, token } = await start();
    expect({ password, token }).to.deep.equal({ password: earlier.password, token: earlier.token });
    expect(said).not.to.include(password).and.not.to.include(token);
    expect(said).to.include('with the password in');
  });

  it('gives the demo user of an older version, whose password everybody knew, another one', async () => {
    const { url, databaseUrl, token } = await start();
    await changePassword(databaseUrl, 'demo-password');
    const stolen = await login(url, 'demo-password');
    expect(stolen.status).to.equal(201);
    await closing.disposeAsync();
    closing = new AsyncDisposableStack();
    const { password: _none, username: _demo, ...older } = await sandboxFile();
    await writeFile(path('sandbox.json'), JSON.stringify(older));

    const { said, ...now } = await start();
    expect(said).to.include(now.password);
    expect((await login(now.url, 'demo-password')).status).to.equal(401);
    expect((await login(now.url, now.password)).status).to.equal(201);
    expect(await statusOf(now.url, stolen.token ?? ''), 'a login with the known password').to.equal(401);
    expect(await statusOf(now.url, token), 'the token of sandbox.json').to.equal(200);
  });

  it('leaves a password alone that a person gave the demo user', async () => {
    const { databaseUrl } = await start();
    await changePassword(databaseUrl, 'a sentence of my own');
    await closing.disposeAsync();
    closing = new AsyncDisposableStack();
    const { said, url, password } = await start();
    expect(password).to.equal(null);
    expect(said).to.include('with the password you gave it');
    expect((await login(url, 'a sentence of my own')).status).to.equal(201);
  });

  it('refuses to serve other machines, unless that is meant', async () => {
    const url = 'postgres://nobody@127.0.0.1:1/none';
    for (const [settings, missing] of [
      [{ HOST: '0.0.0.0' }, /DATABASE_URL and CLOUDINARY_URL are not set/],
      [{ HOST: '::' }, /DATABASE_URL and CLOUDINARY_URL are not set/],
      [{ HOST: 'photos.example.com' }, /DATABASE_URL and CLOUDINARY_URL are not set/],
      [{ HOST: '0.0.0.0', DATABASE_URL: url }, / CLOUDINARY_URL is not set/],
      [{ HOST: '0.0.0.0', CLOUDINARY_URL: 'cloudinary://1:2@x' }, / DATABASE_URL is not set/],
    ] as const) {
      const { ended, said } = launch(settings);
      expect((await ended)[0], said()).to.equal(1);
      expect(said())
        .to.match(missing)
        .and.to.match(/ALLOW_PUBLIC_SANDBOX=true if that is meant\.\n$/);
    }
    const { said } = await start({ HOST: '0.0.0.0', ALLOW_PUBLIC_SANDBOX: 'true' });
    expect(said).to.include('"level":40').and.to.include('the local stand-ins serve other machines');
  });

  it('refuses only where it must: loopback by any of its names is served', async () => {
    for (const HOST of ['localhost', '::1']) {
      const { url } = await start({ HOST });
      expect((await fetch(`${url}/readyz`)).status, HOST).to.equal(200);
      await closing.disposeAsync();
      closing = new AsyncDisposableStack();
    }
  });
});
