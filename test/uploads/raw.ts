import { type Agent, type ClientRequest, type IncomingHttpHeaders, request } from 'node:http';
import { expect } from 'chai';
import type { Json } from '../support/client.ts';

/** What a raw request was answered; a JSON body is parsed. */
export type RawAnswer = { status: number; headers: IncomingHttpHeaders; body: Json };

export type RawRequest = {
  token: string | null;
  headers?: Record<string, string>;
  body?: Buffer;
  /** Sends the body with `Transfer-Encoding: chunked`, in pieces of so many bytes. */
  chunkBytes?: number;
};

export const OFFSET_STREAM = 'application/offset+octet-stream';

/** Opens a tus request; its path goes out exactly as it is written, `..` and all. The body is up to the caller. */
export function openRequest(
  method: string,
  url: string,
  { token, headers = {}, agent }: Pick<RawRequest, 'token' | 'headers'> & { agent?: Agent },
): ClientRequest {
  const [, origin = '', path = ''] = /^(http:\/\/[^/]+)(.*)$/.exec(url) ?? [];
  return request(origin, {
    method,
    path,
    ...(agent ? { agent } : {}),
    headers: {
      'Tus-Resumable': '1.0.0',
      Origin: 'https://app.example',
      ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
      ...headers,
    },
  });
}

/** Resolves to the answer of an opened request. */
export function answerTo(outgoing: ClientRequest): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', async (incoming) => {
      const pieces: Buffer[] = await incoming.toArray();
      const text = Buffer.concat(pieces).toString();
      const json = incoming.headers['content-type']?.includes('json') && text !== '';
      resolve({
        status: incoming.statusCode ?? 0,
        headers: incoming.headers,
        body: json ? JSON.parse(text) : text,
      });
    });
  });
}

export async function send(
  method: string,
  url: string,
  { body, chunkBytes, ...options }: RawRequest,
): Promise<RawAnswer> {
  const outgoing = openRequest(method, url, {
    ...options,
    headers: {
      ...(body && !chunkBytes ? { 'Content-Length': `${body.length}` } : {}),
      ...options.headers,
    },
  });
  const answer = answerTo(outgoing);
  if (body && chunkBytes) {
    for (let at = 0; at < body.length; at += chunkBytes) outgoing.write(body.subarray(at, at + chunkBytes));
    outgoing.end();
  } else outgoing.end(body);
  return answer;
}

/** One ticket's tus endpoint, request by request. */
export type Endpoint = ReturnType<typeof createEndpoint>;

type More = { headers?: Record<string, string>; chunkBytes?: number };
type Creation = More & {
  /** Null defers it. */
  size: number | null;
  metadata?: Record<string, string>;
  body?: Buffer;
};

export function createEndpoint({ uploadUrl, uploadToken: token }: { uploadUrl: string; uploadToken: string }) {
  const create = ({ size, metadata, body, headers, ...more }: Creation) =>
    send('POST', uploadUrl, {
      token,
      headers: {
        ...(size === null ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': `${size}` }),
        ...(metadata ? { 'Upload-Metadata': encodeMetadata(metadata) } : {}),
        ...(body ? { 'Content-Type': OFFSET_STREAM } : {}),
        ...headers,
      },
      ...(body ? { body } : {}),
      ...more,
    });
  return {
    uploadUrl,
    token,
    create,
    /** Creates an upload, or fails; resolves to its address. */
    async begin(creation: Creation): Promise<string> {
      const { status, headers, body } = await create(creation);
      if (status !== 201 || !headers.location) throw new Error(`no upload: ${status} ${JSON.stringify(body)}`);
      return headers.location;
    },
    patch: (url: string, offset: number, body: Buffer, { headers, ...more }: More = {}) =>
      send('PATCH', url, {
        token,
        headers: { 'Content-Type': OFFSET_STREAM, 'Upload-Offset': `${offset}`, ...headers },
        body,
        ...more,
      }),
    head: (url: string) => send('HEAD', url, { token }),
    remove: (url: string) => send('DELETE', url, { token }),
    send: (method: string, url: string, options: Omit<RawRequest, 'token'> = {}) =>
      send(method, url, { token, ...options }),
  };
}

function encodeMetadata(metadata: Record<string, string>): string {
  return Object.entries(metadata)
    .map(([key, value]) => `${key} ${Buffer.from(value).toString('base64')}`)
    .join(',');
}

/** Every error, whatever its status, is a problem document that a browser may read. */
export function expectProblem(answer: RawAnswer, status: number, code: string): void {
  const { headers, body } = answer;
  expect(`${answer.status} ${body.code ?? JSON.stringify(body)}`).to.equal(`${status} ${code}`);
  expect(headers['content-type']).to.equal('application/problem+json');
  expect(body.type).to.equal(`/problems/${code}`);
  expect(body.status).to.equal(status);
  expect(body.title).to.be.a('string').that.is.not.empty;
  expect(body.detail).to.be.a('string').that.is.not.empty;
  expect(body.requestId).to.be.a('string').that.equals(headers['x-request-id']);
  expectReadable(answer);
}

/** A browser of another origin may read this answer. */
export function expectReadable({ headers }: RawAnswer): void {
  expect(headers['access-control-allow-origin']).to.equal('*');
  const exposed = headers['access-control-expose-headers']?.toLowerCase().split(/,\s*/) ?? [];
  expect(exposed).to.include.members(['location', 'upload-offset', 'upload-length', 'tus-version', 'retry-after']);
}
