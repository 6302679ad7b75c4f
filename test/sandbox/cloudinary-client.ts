import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v2 as cloudinary, type UploadApiOptions, type UploadApiResponse } from 'cloudinary';
import {
  type SandboxCloudinary,
  type SandboxCloudinaryOptions,
  startSandboxCloudinary,
} from '../../packages/sandbox/cloudinary/server.ts';

export const account = { cloud_name: 'testcloud', api_key: '1234567890', api_secret: 'test-secret' };

export type Rig = AsyncDisposable & {
  readonly sandbox: SandboxCloudinary;
  readonly directory: string;
  /** Credentials, address and agent, for the options of any SDK call: the SDK's own configuration is global. */
  sdk(): typeof account & { upload_prefix: string; agent: Agent };
  /** The real SDK's `upload_stream`, fed with these bytes. */
  upload(bytes: Buffer, options?: UploadApiOptions): Promise<UploadApiResponse>;
  destroy(publicId: string, options?: object): Promise<unknown>;
  /** Closes the sandbox and starts another on the same directory. */
  restart(): Promise<void>;
};

/** A sandbox of its own in a temporary directory, with a client; all gone on disposal. */
export async function startRig(options: Partial<SandboxCloudinaryOptions> = {}): Promise<Rig> {
  const directory = await mkdtemp(join(tmpdir(), 'sandbox-cloudinary-'));
  const agent = new Agent({ keepAlive: true });
  const start = () =>
    startSandboxCloudinary({
      directory,
      cloudName: account.cloud_name,
      apiKey: account.api_key,
      apiSecret: account.api_secret,
      ...options,
    });
  let sandbox = await start();
  const sdk = () => ({ ...account, upload_prefix: sandbox.url, agent });
  return {
    get sandbox() {
      return sandbox;
    },
    directory,
    sdk,
    upload: (bytes, uploadOptions = {}) =>
      new Promise((resolve, reject) => {
        const done = (error?: unknown, result?: UploadApiResponse) => (result ? resolve(result) : reject(error));
        cloudinary.uploader.upload_stream({ ...sdk(), ...uploadOptions }, done).end(bytes);
      }),
    destroy: (publicId, options = {}) =>
      cloudinary.uploader.destroy(publicId, { invalidate: true, ...sdk(), ...options }),
    async restart() {
      await sandbox.close();
      sandbox = await start();
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
      await sandbox.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export type RawAnswer = { status: number; message: IncomingMessage; text: string; chunks: number };

/** An upload by bare HTTP, of which the test decides when each byte goes. */
export type RawUpload = {
  req: ClientRequest;
  /** Sends the closing delimiter. */
  end(): void;
  answer: Promise<RawAnswer>;
};

/**
 * Opens an upload and sends all up to the first byte of the file. The server notices that the file part has begun with
 * that byte, for until then the line break before it might be the one before a boundary.
 */
export function openUpload(rig: Rig, fields: Record<string, string>, agent?: Agent): RawUpload {
  const boundary = 'a-boundary-of-its-own';
  const signed: Record<string, string> = { timestamp: `${Math.floor(Date.now() / 1000)}`, ...fields };
  const signature = cloudinary.utils.api_sign_request(signed, account.api_secret);
  const parts = Object.entries({ ...signed, signature, api_key: account.api_key }).map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  );
  const file = 'Content-Disposition: form-data; name="file"; filename="file"\r\nContent-Type: image/jpeg\r\n\r\n';
  const req = request(`${rig.sandbox.url}/v1_1/${account.cloud_name}/image/upload`, {
    method: 'POST',
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    agent: agent ?? false,
  });
  const answer = receive(req);
  // A test that expects no answer looks at the request; its failure must not count as unhandled meanwhile.
  answer.catch(() => {});
  req.write(`${parts.join('')}--${boundary}\r\n${file}`);
  return { req, answer, end: () => void req.end(`\r\n--${boundary}--`) };
}

/** A whole upload by bare HTTP, which shows what the SDK hides: headers, odd statuses, resets. */
export async function rawUpload(rig: Rig, publicId: string, bytes: Buffer): Promise<RawAnswer> {
  const upload = openUpload(rig, { public_id: publicId });
  upload.req.write(bytes);
  upload.end();
  return upload.answer;
}

async function receive(req: ClientRequest): Promise<RawAnswer> {
  const failed = once(req, 'error').then(([error]) => Promise.reject(error));
  failed.catch(() => {});
  const [message] = (await Promise.race([once(req, 'response'), failed])) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return { status: message.statusCode ?? 0, message, text: Buffer.concat(chunks).toString(), chunks: chunks.length };
}

/** What the Admin API and the pages for people want to see. */
export function credentials({ api_key, api_secret } = account): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${api_key}:${api_secret}`).toString('base64')}` };
}

export function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}

/** What a promise is rejected with; resolving is a failure of the test. */
export async function rejection(promise: Promise<unknown>): Promise<Record<string, unknown>> {
  const outcome = await promise.then(
    (value) => ({ value }),
    (error) => ({ error }),
  );
  if ('error' in outcome) return outcome.error;
  throw new Error(`Expected a failure, got ${JSON.stringify(outcome.value)}`);
}
