import { once } from 'node:events';
import { chmod, mkdir } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { awaitDirectory } from '../directory-lock.ts';
import { openAccountFile } from './account-file.ts';
import { refuse } from './answer.ts';
import { openAssets } from './assets.ts';
import type { Call, Sandbox } from './call.ts';
import { createFaultPlan, type FaultPlan } from './faults.ts';
import { createImageReader } from './image-format.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { route } from './routes.ts';
import { send } from './send.ts';

export type SandboxCloudinary = {
  /** `http://127.0.0.1:PORT` */
  url: string;
  /** What the SDK wants in CLOUDINARY_URL. */
  cloudinaryUrl: string;
  /** Every call of the Upload and Admin API. */
  ledger: Ledger;
  /** What goes wrong. */
  faults: FaultPlan;
  /** Whether the addresses of images stored earlier name another port. */
  moved: boolean;
  /** Cuts all connections and ends in bounded time; twice does no harm. */
  close(): Promise<void>;
};

export type SandboxCloudinaryOptions = {
  /** Where the images live; they survive a restart. One server at a time. */
  directory: string;
  /** 0, the default, takes the one of the last run where it is free, else any. */
  port?: number;
  /** That of the last run, where the directory itself does not say. */
  lastPort?: number;
  host?: string;
  /** Name, key and secret end up in an URL as they are: letters, digits and dashes. */
  cloudName?: string;
  apiKey?: string;
  /** By default a random one, kept in the directory. */
  apiSecret?: string;
  /** The server's clock in milliseconds: judges stale timestamps, dates answers. */
  now?: () => number;
  /** Whether `<directory>/ledger.jsonl` is written, which grows without end; true by default. */
  ledgerFile?: boolean;
};

/** Connections are cut first, so what is still running only has a file to close. */
const closeTimeoutMs = 5000;

/** A local server that speaks Cloudinary's Upload API, and a little of its Admin API, to the real SDK. */
export async function startSandboxCloudinary(options: SandboxCloudinaryOptions): Promise<SandboxCloudinary> {
  const { directory, port = 0, lastPort, host = '127.0.0.1', now = Date.now, ledgerFile = true } = options;
  await using starting = new AsyncDisposableStack();
  await mkdir(directory, { recursive: true, mode: 0o700 });
  // A mode counts only for a folder that is made: older versions left this one open to everybody.
  await chmod(directory, 0o700);
  // A server whose starter was killed may be storing its last image: what it has not named yet would count as left over.
  const lock = await awaitDirectory(directory, 'cloudinary.lock', closeTimeoutMs + 1000);
  starting.defer(() => lock.release());
  const assets = await openAssets(directory);
  const account = await openAccountFile(directory);
  const { cloudName = 'local', apiKey = '123456789012345', apiSecret = account.apiSecret } = options;
  const ledger = createLedger(ledgerFile ? join(directory, 'ledger.jsonl') : null);
  const faults = createFaultPlan();
  const readImageInfo = createImageReader();
  const sandbox: Sandbox = {
    ...{ account: { cloudName, apiKey, apiSecret }, assets, ledger, faults },
    ...{ readImageInfo, now, url: () => url },
  };

  const running = new Set<Promise<void>>();
  const server = createServer((req, res) => {
    const answered = answer(sandbox, req, res).finally(() => running.delete(answered));
    running.add(answered);
  });
  // A whole image may take longer than Node's 300 s; and nginx, which Cloudinary shows to the world, keeps idle
  // connections for about a minute, where Node's 5 s would reset clients that reuse them.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;
  starting.defer(() => void server.close());
  const earlier = account.port ?? (lastPort || undefined);
  const listening = await listenOn(server, port, earlier, host);
  await account.keepPort(listening);
  const url = `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${listening}`;

  starting.move();
  let closed: Promise<void> | null = null;
  const close = async () => {
    ledger.close();
    const gone = once(server, 'close');
    server.close();
    server.closeAllConnections();
    const { promise: late, resolve: giveUp } = Promise.withResolvers<void>();
    const timer = setTimeout(giveUp, closeTimeoutMs);
    await Promise.race([late, Promise.all([gone, Promise.allSettled(running)])]);
    clearTimeout(timer);
    lock.release();
  };

  return {
    url,
    cloudinaryUrl: `cloudinary://${apiKey}:${apiSecret}@${cloudName}?upload_prefix=${url}`,
    ledger,
    faults,
    moved: earlier !== undefined && earlier !== listening,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
}

/** Listens on `port`, or where that is 0 on the `earlier` one, or where that is taken on any. Resolves to the port. */
async function listenOn(server: Server, port: number, earlier: number | undefined, host: string): Promise<number> {
  server.listen(port || (earlier ?? 0), host);
  try {
    await once(server, 'listening');
  } catch (error) {
    if (port !== 0 || earlier === undefined) throw error;
    server.listen(0, host);
    await once(server, 'listening');
  }
  return (server.address() as AddressInfo).port;
}

async function answer(sandbox: Sandbox, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const gone = new AbortController();
  res.once('close', () => gone.abort());
  // A request or an answer that breaks off is an ordinary end here; the handlers see it for themselves.
  req.on('error', () => {});
  res.on('error', () => {});
  const url = new URL(`http://sandbox${req.url?.startsWith('/') ? req.url : '/'}`);
  const call: Call = { sandbox, req, res, url, gone: gone.signal, fault: null, line: null };
  try {
    await route(call);
  } catch (error) {
    const answerable = !res.headersSent && !res.destroyed;
    if (answerable) await send(call, refuse(500, `General Error: ${error instanceof Error ? error.message : error}`));
    call.line?.end();
    req.resume();
  }
}
