import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

/** An empty database, or a copy of the template. `drop` ends open connections, and may be called twice. */
export type TestDatabase = { databaseUrl: string; drop(): Promise<void> };

/** Fills the template of the test databases. The function has to close every connection to the template. */
export type PrepareTemplate = (databaseUrl: string) => Promise<void>;

type TestServer = { url: string; templates: Map<PrepareTemplate, Promise<string>> };

// The one exception to "no module state": test files share a server, and mocha passes test files no values.
let shared: Promise<TestServer> | undefined;

/**
 * Makes a fresh database on the server of this process. The first call starts the server (about 2 s), which stops after
 * the tests. Each `prepareTemplate` function runs once.
 */
export async function createTestDatabase(prepareTemplate?: PrepareTemplate): Promise<TestDatabase> {
  shared ??= startServer();
  const server = await shared;
  const template = prepareTemplate === undefined ? 'template1' : await templateOf(server, prepareTemplate);
  const name = `test_${randomBytes(6).toString('hex')}`;
  await execute(server, createCopy(name, template));
  return {
    databaseUrl: urlOf(server, name),
    async drop() {
      await execute(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

function templateOf(server: TestServer, prepareTemplate: PrepareTemplate): Promise<string> {
  const known = server.templates.get(prepareTemplate);
  if (known !== undefined) return known;
  const made = makeTemplate(server, prepareTemplate);
  server.templates.set(prepareTemplate, made);
  return made;
}

async function makeTemplate(server: TestServer, prepareTemplate: PrepareTemplate): Promise<string> {
  const name = `template_${server.templates.size + 2}`;
  await execute(server, createCopy(name, 'template1'));
  await prepareTemplate(urlOf(server, name));
  await untilUnused(server, name);
  return name;
}

/** A backend ends a moment after the client. An open connection would make every copy fail; the error names the cause. */
async function untilUnused(server: TestServer, name: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  const connected = `SELECT FROM pg_stat_activity WHERE datname = '${name}' AND client_port > 0`;
  while ((await execute(server, connected)).rowCount !== 0) {
    if (performance.now() > deadline) throw new Error('prepareTemplate left a connection open');
    await delay(20);
  }
}

/** About 45 ms. Copying the files beats the default, writing every page to the WAL, the more the template holds. */
function createCopy(name: string, template: string): string {
  return `CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`;
}

async function startServer(): Promise<TestServer> {
  const program = fileURLToPath(new URL('postgres-server.ts', import.meta.url));
  // Detached: Ctrl-C reaches the tests alone. The server ends with its standard input, when the tests have closed all.
  const child = spawn(process.execPath, [program], { detached: true, stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const url = await Promise.race([once(lines, 'line').then(([line]) => String(line)), ended.then(() => undefined)]);
  if (url === undefined) throw new Error('The database server of the tests did not start');
  lines.close();
  child.stdout.destroy();

  // The running server does not keep mocha alive. The end of the server does: its files are removed before mocha ends.
  child.unref();
  process.once('beforeExit', () => {
    child.ref();
    child.stdin.end();
  });
  return { url, templates: new Map() };
}

function urlOf(server: TestServer, database: string): string {
  return Object.assign(new URL(server.url), { pathname: database }).href;
}

async function execute(server: TestServer, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ connectionString: urlOf(server, 'postgres') });
  await client.connect();
  try {
    return await client.query(sql);
  } finally {
    await client.end();
  }
}
