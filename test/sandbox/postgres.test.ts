import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { assert } from 'chai';
import pg from 'pg';
import { type SandboxPostgres, startSandboxPostgres } from '../../packages/sandbox/postgres.ts';

const sandboxSource = new URL('../../packages/sandbox/', import.meta.url);

// What a hopla does, as a process of its own: start, say where, run until it is told or killed.
const program = (onInterrupt: string) => `
  import { startSandboxPostgres } from ${JSON.stringify(new URL('postgres.ts', sandboxSource).href)};
  const server = await startSandboxPostgres({ directory: process.argv[1], durable: false });
  process.on('SIGINT', async () => { ${onInterrupt} });
  console.log(server.databaseUrl);
  setInterval(() => {}, 60_000);
`;

describe('the sandbox Postgres', () => {
  let directory: string;
  let dataDirectory: string;
  let open: AsyncDisposableStack;

  // One cluster for all: each initdb takes a second. Every test leaves it stopped.
  before(async () => {
    // The name under which test/support/postgres-server.ts sweeps up, should this process be killed.
    directory = await mkdtemp(join(tmpdir(), 'hopla-test-postgres-'));
    dataDirectory = join(directory, 'postgres-data');
  });
  beforeEach(() => {
    open = new AsyncDisposableStack();
  });
  afterEach(async () => {
    await open.disposeAsync();
    const left = await postmasters(dataDirectory);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    assert.deepEqual(left, [], 'the test left a server running');
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function start(log: (message: string) => void = () => {}): Promise<SandboxPostgres> {
    const server = await startSandboxPostgres({ directory, durable: false, log });
    open.defer(() => server.close());
    return server;
  }

  /** A hopla in a process group of its own, as a terminal makes one. */
  async function startElsewhere(onInterrupt = ''): Promise<{ child: ChildProcess; databaseUrl: string }> {
    const child = runNode([program(onInterrupt), directory]);
    const [databaseUrl] = await once(createInterface({ input: child.stdout }), 'line');
    return { child, databaseUrl };
  }

  function runNode(code: string[]) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', ...code], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    open.defer(() => kill(child));
    return child;
  }

  it('keeps data and address from one start to the next', async () => {
    const first = await start();
    await query(first.databaseUrl, 'CREATE TABLE photos AS SELECT 1 AS id');
    await first.close();

    const second = await start();
    assert.deepEqual(await query(second.databaseUrl, 'SELECT id FROM photos'), [{ id: 1 }]);
    assert.equal(second.databaseUrl, first.databaseUrl);
  });

  it('moves to another port when its own is taken', async () => {
    const first = await start();
    await first.close();
    const squatter = createServer().listen(Number(new URL(first.databaseUrl).port), '127.0.0.1');
    open.defer(() => new Promise((resolve) => squatter.close(() => resolve())));
    await once(squatter, 'listening');

    const second = await start();
    assert.notEqual(second.databaseUrl, first.databaseUrl);
    assert.deepEqual(await query(second.databaseUrl, 'SELECT id FROM photos'), [{ id: 1 }]);
  });

  it('says so when the port asked for is taken', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    open.defer(() => new Promise((resolve) => squatter.close(() => resolve())));
    await once(squatter, 'listening');
    const { port } = squatter.address() as AddressInfo;
    const error = await rejection(startSandboxPostgres({ directory, port, durable: false }));
    assert.include(error.message, `Port ${port} is taken`);
  });

  it('lets nobody in without the password', async () => {
    const url = new URL((await start()).databaseUrl);
    url.password = 'guess';
    const error = await rejection(query(url.href, 'SELECT 1'));
    assert.include(error.message, 'password authentication failed');
  });

  it('stops once, however often it is closed', async () => {
    const server = await start();
    await Promise.all([server.close(), server.close()]);
    await server.close();
    const error = await rejection(query(server.databaseUrl, 'SELECT 1'));
    assert.propertyVal(error, 'code', 'ECONNREFUSED');
  });

  it('finds what was committed and replaces the server a killed hopla left running', async () => {
    const { child, databaseUrl } = await startElsewhere();
    await query(databaseUrl, 'INSERT INTO photos VALUES (2)');
    await kill(child);
    const left = await postmasters(dataDirectory);
    assert.lengthOf(left, 1, 'it was left running');

    const server = await start();
    assert.deepEqual(await query(server.databaseUrl, 'SELECT id FROM photos ORDER BY id'), [{ id: 1 }, { id: 2 }]);
    const now = await postmasters(dataDirectory);
    assert.lengthOf(now, 1);
    assert.notDeepEqual(now, left);
  });

  it('finds what was committed after Postgres itself was killed, and reports that', async () => {
    const { promise: reported, resolve: report } = Promise.withResolvers<string>();
    const server = await start(report);
    await query(server.databaseUrl, 'SET synchronous_commit = on; INSERT INTO photos VALUES (3)');
    for (const pid of await postmasters(dataDirectory)) process.kill(pid, 'SIGKILL');
    assert.include(await reported, 'SIGKILL');
    await server.close();

    const next = await start();
    assert.deepEqual(await query(next.databaseUrl, 'SELECT count(*)::int AS n FROM photos'), [{ n: 3 }]);
  });

  it('tells a second hopla which process has the directory, and leaves the first alone', async () => {
    const { child, databaseUrl } = await startElsewhere();
    const error = await rejection(startSandboxPostgres({ directory }));
    assert.include(error.message, `in use by another running hopla (pid ${child.pid})`);
    assert.lengthOf(await query(databaseUrl, 'SELECT 1'), 1);

    await kill(child);
    await start();
  });

  it('lets one of two that start at the same time win', async () => {
    const outcomes = await Promise.allSettled([start(), start()]);
    assert.sameMembers(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    );
  });

  it('survives Ctrl-C, which goes to the whole process group, until it is closed', async () => {
    const { child, databaseUrl } = await startElsewhere('console.log("interrupted")');
    const connected = new pg.Client({ connectionString: databaseUrl });
    await connected.connect();
    open.defer(() => connected.end());

    const interrupted = once(child.stdout ?? child, 'data');
    process.kill(-Number(child.pid), 'SIGINT');
    await interrupted;
    // Had the signal reached it, it would end this session and take no new one.
    assert.lengthOf(await query(databaseUrl, 'SELECT 1'), 1);
    assert.lengthOf((await connected.query('SELECT 1')).rows, 1);

    await connected.end();
    await kill(child);
    await start();
  });

  it('harms no process that by now has the pid of a crashed Postgres', async () => {
    const server = await start();
    const pidFile = join(dataDirectory, 'postmaster.pid');
    const [, ...rest] = (await readFile(pidFile, 'utf8')).split('\n');
    await server.close();
    // As the same user: Postgres itself disregards processes it may not signal.
    const { uid, gid } = await stat(dataDirectory);
    const script = ['-c', 'echo here; read line', 'sh', 'hopla.directory=/elsewhere'];
    const bystander = spawn('sh', script, { cwd: '/', uid, gid, stdio: ['pipe', 'pipe', 'inherit'] });
    open.defer(() => kill(bystander));
    await once(bystander.stdout, 'data');
    await writeFile(pidFile, [bystander.pid, ...rest].join('\n'));

    const next = await start();
    assert.deepEqual(await query(next.databaseUrl, 'SELECT count(*)::int AS n FROM photos'), [{ n: 3 }]);
    await next.close();
    assert.isNull(bystander.exitCode ?? bystander.signalCode);
  });

  it('says which file is missing when the password is lost, and starts when it is back', async () => {
    const file = join(directory, 'postgres.json');
    await rename(file, `${file}.lost`);
    const error = await rejection(startSandboxPostgres({ directory }));
    assert.include(error.message, file);
    await rename(`${file}.lost`, file);
    await start();
  });

  it('asks for DATABASE_URL where the optional dependencies are not installed', async () => {
    const production = join(directory, 'production');
    await cp(sandboxSource, join(production, 'src'), { recursive: true });
    await mkdir(join(production, 'node_modules'));
    await symlink(
      fileURLToPath(import.meta.resolve('pg/package.json')).replace(/package.json$/, ''),
      join(production, 'node_modules', 'pg'),
    );
    const url = JSON.stringify(new URL(`file://${production}/src/postgres.ts`).href);
    const child = runNode([
      `const { startSandboxPostgres } = await import(${url});
       await startSandboxPostgres({ directory: process.argv[1] }).catch((error) => console.log(error.message));`,
      join(production, 'data'),
    ]);
    const [said] = await once(child.stdout, 'data');
    assert.match(`${said}`, /DATABASE_URL .* or install hopla with its optional dependencies/);
  });
});

async function query(databaseUrl: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function rejection(promise: Promise<unknown>): Promise<Error> {
  const outcome = await promise.catch((error: unknown) => error);
  if (!(outcome instanceof Error)) assert.fail('it was expected to fail');
  return outcome;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

/** The pids of all servers that run on the cluster. Their children have the same command line until they rename themselves. */
async function postmasters(dataDirectory: string): Promise<number[]> {
  const running = (await processes()).filter(({ command }) => command.includes(`hopla.directory=${dataDirectory} `));
  return running.filter(({ parent }) => !running.some(({ pid }) => pid === parent)).map(({ pid }) => pid);
}

type Process = { pid: number; parent: number; command: string };

async function processes(): Promise<Process[]> {
  if (!existsSync('/proc/self/cmdline')) {
    const { stdout } = await promisify(execFile)('ps', ['-axww', '-o', 'pid=,ppid=,command=']);
    return stdout.split('\n').map((line) => {
      const [pid, parent, ...command] = line.trim().split(/ +/);
      return { pid: Number(pid), parent: Number(parent), command: command.join(' ') };
    });
  }
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = pids.map(async (pid) => {
    // ENOENT, ESRCH: it ended meanwhile.
    const [command, state] = await Promise.all(
      ['cmdline', 'stat'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')),
    );
    // The name, second of the fields, is in parentheses and may hold spaces: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    const parent = state?.split(') ').at(-1)?.split(' ')[1];
    return { pid: Number(pid), parent: Number(parent), command: command?.replaceAll('\0', ' ') ?? '' };
  });
  return Promise.all(found);
}
