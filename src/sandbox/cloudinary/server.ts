import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { refuse, send } from './answer.ts';
import { openAssets } from './assets.ts';
import type { Call, Sandbox } from './call.ts';
import { createFaultPlan, type FaultPlan } from './faults.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { route } from './routes.ts';

export type SandboxCloudinary = {
  /** `http://127.0.0.1:PORT` */
  url: string;
  /** What the SDK wants in CLOUDINARY_URL. */
  cloudinaryUrl: string;
  /** Every call of the Upload and Admin API. */
  ledger: Ledger;
  /** What goes wrong. */
  faults: FaultPlan;
  /** Cuts all connections and ends in bounded time; twice does no harm. */
  close(): Promise<void>;
};

export type SandboxCloudinaryOptions = {
  /** Where the images live; they survive a restart. One server at a time. */
  directory: string;
  /** 0, the default, takes a free one. */
  port?: number;
  host?: string;
  /** Name, key and secret end up in an URL as they are: letters, digits and dashes. */
  cloudName?: string;
  apiKey?: string;
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
  const { directory, port = 0, host = '127.0.0.1', now = Date.now, ledgerFile = true } = options;
  const { cloudName = 'local', apiKey = '123456789012345', apiSecret = 'local-secret' } = options;
  const assets = await openAssets(directory);
  const ledger = createLedger(ledgerFile ? join(directory, 'ledger.jsonl') : null);
  const faults = createFaultPlan();
  const sandbox: Sandbox = { account: { cloudName, apiKey, apiSecret }, assets, ledger, faults, now, url: () => url };

  const running = new Set<Promise<void>>();
  const server = createServer((req, res) => {
    const answered = answer(sandbox, req, res).finally(() => running.delete(answered));
    running.add(answered);
  });
  // A whole image may take longer than Node's 300 s; and nginx, which Cloudinary shows to the world, keeps idle
  // connections for about a minute, where Node's 5 s would reset clients that reuse them.
  server.requestTimeout = 0;
  server.keepAliveTimeout = 60_000;
  server.listen(port, host);
  await once(server, 'listening');
  const url = `http://${host === '0.0.0.0' ? '127.0.0.1' : host}:${(server.address() as AddressInfo).port}`;

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
  };

  return {
    url,
    cloudinaryUrl: `cloudinary://${apiKey}:${apiSecret}@${cloudName}?upload_prefix=${url}`,
    ledger,
    faults,
    close: () => {
      closed ??= close();
      return closed;
    },
  };
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
