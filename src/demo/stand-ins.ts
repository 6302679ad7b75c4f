import { join } from 'node:path';
import type { Logger } from 'pino';
import { type CloudinaryProcess, superviseCloudinary } from '../../packages/sandbox/cloudinary/supervisor.ts';
import { type SandboxPostgres, startSandboxPostgres } from '../../packages/sandbox/postgres.ts';
import { type Config, ConfigError } from '../config.ts';
import { isLoopback } from '../http/loopback.ts';
import { readSandboxFile } from './sandbox-file.ts';

/** What stands in for a database and a storage that nobody configured. */
export type Sandbox = { databaseUrl: string; cloudinaryUrl: string; close(): Promise<void> };

/** Throws a ConfigError where the stand-ins would serve other machines and nobody said that this is meant. */
export function refusePublicSandbox(config: Config, log: Logger): void {
  const missing = (['DATABASE_URL', 'CLOUDINARY_URL'] as const).filter((name) => config[name] === undefined);
  if (missing.length === 0 || isLoopback(config.HOST)) return;
  if (config.ALLOW_PUBLIC_SANDBOX) {
    log.warn({ host: config.HOST, missing }, 'the local stand-ins serve other machines: ALLOW_PUBLIC_SANDBOX is set');
    return;
  }
  const [are, them] = missing.length === 1 ? ['is', 'it'] : ['are', 'them'];
  throw new ConfigError(
    `HOST=${config.HOST} lets other machines in, and ${missing.join(' and ')} ${are} not set: photos would end on this machine's ` +
      `local stand-ins. Set ${them}, or HOST=127.0.0.1, or ALLOW_PUBLIC_SANDBOX=true if that is meant.`,
  );
}

/** Starts a local Postgres and a local Cloudinary side by side, each only where none is configured. */
export async function startSandbox(config: Config, log: Logger): Promise<Sandbox> {
  await using starting = new AsyncDisposableStack();
  const [postgres, cloudinary] = await Promise.allSettled([
    config.DATABASE_URL === undefined ? startPostgres(config, log) : null,
    config.STORAGE_URL === undefined ? startCloudinary(config, log) : null,
  ]);
  for (const outcome of [postgres, cloudinary])
    if (outcome.status === 'fulfilled') starting.defer(async () => outcome.value?.close());
  if (postgres.status === 'rejected') throw postgres.reason;
  if (cloudinary.status === 'rejected') throw cloudinary.reason;
  const started = starting.move();
  return {
    databaseUrl: postgres.value?.databaseUrl ?? config.DATABASE_URL ?? '',
    cloudinaryUrl: cloudinary.value?.cloudinaryUrl ?? config.STORAGE_URL ?? '',
    close: () => started.disposeAsync(),
  };
}

function startPostgres(config: Config, log: Logger): Promise<SandboxPostgres> {
  log.info('DATABASE_URL is not set: starting a local Postgres');
  return startSandboxPostgres({
    directory: join(config.DATA_DIR, 'postgres'),
    log: (message) => log.debug(message),
  });
}

async function startCloudinary(config: Config, log: Logger): Promise<CloudinaryProcess> {
  log.info('CLOUDINARY_URL is not set: starting a local Cloudinary');
  const directory = join(config.DATA_DIR, 'cloudinary');
  const options = { directory, port: config.SANDBOX_CLOUDINARY_PORT, lastPort: await lastPortOf(config) };
  const cloudinary = await superviseCloudinary(options, log);
  if (cloudinary.moved)
    log.warn(
      { url: cloudinary.url },
      'the local Cloudinary moves to another port: addresses of images stored before no longer work',
    );
  return cloudinary;
}

/** The port of a version that kept it in `sandbox.json` alone. */
async function lastPortOf({ DATA_DIR }: Config): Promise<number> {
  const address = URL.parse((await readSandboxFile(DATA_DIR))?.cloudinaryUrl ?? '')?.searchParams.get('upload_prefix');
  return Number(URL.parse(address ?? '')?.port ?? 0);
}
