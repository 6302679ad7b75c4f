import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino, { type Logger } from 'pino';
import { type SandboxCloudinary, startSandboxCloudinary } from '../../packages/sandbox/cloudinary/server.ts';
import { readConfig } from '../../src/config.ts';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import { type Gateway, type GatewayConfig, startGateway } from '../../src/gateway.ts';
import { issueToken } from '../../src/identity/tokens.ts';
import { createUser } from '../../src/identity/users.ts';
import { type Api, createApi } from './client.ts';
import { holdToContract } from './contract.ts';
import { createTestDatabase } from './database.ts';
import { prepareTemplate } from './template.ts';

/** A gateway with a database, a staging folder and a Cloudinary for this gateway alone; all real, all removed by `close`. */
export type TestGateway = {
  readonly url: string;
  /** Every route of every router. */
  readonly routes: Gateway['routes'];
  readonly config: GatewayConfig;
  readonly db: Database;
  readonly cloudinary: SandboxCloudinary;
  /** A new user with a user token. */
  createUser(username?: string, password?: string): Promise<{ id: string; username: string; token: string }>;
  /** Names of the files in staging. */
  stagedFiles(): Promise<string[]>;
  /** Stops the gateway (not the database, not the Cloudinary) and starts a new gateway on the same port and folders. */
  restart(settings?: Settings): Promise<void>;
  /** Stops the gateway alone; `restart` starts it again. */
  stop(): Promise<void>;
  close(): Promise<void>;
};

/** Settings as in the environment. */
export type Settings = Record<string, string>;

const silent = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });

/**
 * A gateway for the calling suite, started before the first test and closed after the last test. `api` calls the gateway as
 * the user `user-1`. Hooks and tests may use both values; an earlier use throws an Error.
 */
export function useGateway(settings?: Settings, log?: Logger): { gateway: TestGateway; api: Api } {
  let gateway: TestGateway | undefined;
  let api: Api | undefined;
  before('start a gateway', async () => {
    gateway = await startTestGateway(settings, log);
    api = createApi(gateway.url, (await gateway.createUser()).token);
  });
  after('close the gateway', () => gateway?.close());
  return { gateway: standInFor('gateway', () => gateway), api: standInFor('api', () => api) };
}

/** An object with the properties of an object that is made later. */
function standInFor<T extends object>(name: string, find: () => T | undefined): T {
  return new Proxy({} as T, {
    get(_target, property) {
      const found = find();
      if (found === undefined) throw new Error(`${name}.${String(property)} is used before the gateway is started`);
      return Reflect.get(found, property);
    },
  });
}

export async function startTestGateway(settings: Settings = {}, log: Logger = silent): Promise<TestGateway> {
  await using starting = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-test-'));
  starting.defer(() => rm(directory, { recursive: true, force: true }));
  const database = await createTestDatabase(prepareTemplate);
  starting.defer(() => database.drop());
  const cloudinary = await startSandboxCloudinary({ directory: join(directory, 'cloudinary'), ledgerFile: false });
  starting.defer(() => cloudinary.close());
  const environment = {
    PORT: '0',
    DATA_DIR: directory,
    DATABASE_URL: database.databaseUrl,
    STORAGE_URL: cloudinary.cloudinaryUrl,
    MAX_CREATIONS_PER_MINUTE: '100000',
    ...settings,
  };
  const configure = (more: Settings = {}) => readConfig({ ...environment, ...more }) as GatewayConfig;
  let config = configure();
  const db = connectDatabase(database.databaseUrl, { maxConnections: 4 });
  starting.defer(() => db.destroy());
  let gateway: Gateway = await startGateway(config, log);
  const { url } = gateway;
  starting.defer(() => gateway.close());
  starting.use(holdToContract(url));

  let users = 0;
  const started = starting.move();
  return {
    url,
    routes: gateway.routes,
    get config() {
      return config;
    },
    db,
    cloudinary,
    async createUser(name, password) {
      users += 1;
      const username = name ?? `user-${users}`;
      const user = await createUser(db, { username, ...(password === undefined ? {} : { password }) });
      const { token } = await issueToken(db, { userId: user.id });
      return { id: user.id, username, token };
    },
    async stagedFiles() {
      const names = await readdir(config.STAGING_DIR);
      return names.filter((name) => !name.startsWith('.'));
    },
    async restart(more) {
      await gateway.close();
      config = configure({ PORT: new URL(url).port, ...more });
      gateway = await startGateway(config, log);
    },
    stop: () => gateway.close(),
    close: () => started.disposeAsync(),
  };
}
