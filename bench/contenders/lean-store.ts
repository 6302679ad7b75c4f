/**
 * The least that a store can do: reads each multipart upload of Cloudinary's SDK, hashes the file part (md5), keeps nothing,
 * and answers like the Upload API. A process of its own, so that its CPU is nobody else's.
 */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { announce } from './contender.ts';

/** The first piece of a form holds all its fields: the SDK writes the file last. */
const FIELD = /name="public_id"\r\n\r\n([^\r]+)/;
const HEAD_END = '\r\n\r\n';

const server = createServer((request, response) => {
  const answer = (body: unknown) => {
    const text = JSON.stringify(body);
    response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
  };
  if (request.method === 'GET') answer({ status: 'ok' });
  else receive(request).then(answer, () => response.destroy());
});
server.requestTimeout = 0;
server.keepAliveTimeout = 60_000;

async function receive(request: IncomingMessage) {
  const boundary = /boundary=(\S+)/.exec(request.headers['content-type'] ?? '')?.[1] ?? '';
  const tailBytes = Buffer.byteLength(`\r\n--${boundary}--`);
  const md5 = createHash('md5');
  let head: Buffer | null = Buffer.alloc(0);
  let publicId = 'unnamed';
  let bytes = 0;
  let tail: Buffer = Buffer.alloc(0);
  for await (let piece of request as AsyncIterable<Buffer>) {
    if (head) {
      head = Buffer.concat([head, piece]);
      const file = head.indexOf('name="file"');
      const begins = file < 0 ? -1 : head.indexOf(HEAD_END, file);
      if (begins < 0) continue;
      publicId = FIELD.exec(head.toString('latin1', 0, file))?.[1] ?? publicId;
      piece = head.subarray(begins + HEAD_END.length);
      head = null;
    }
    // What may be the closing delimiter is held back until more has come.
    const known = tail.length + piece.length - tailBytes;
    if (known <= 0) tail = Buffer.concat([tail, piece]);
    else {
      const ofTail = Math.min(known, tail.length);
      md5.update(tail.subarray(0, ofTail));
      md5.update(piece.subarray(0, known - ofTail));
      bytes += known;
      tail = Buffer.concat([tail.subarray(ofTail), piece.subarray(known - ofTail)]);
    }
  }
  const etag = md5.digest('hex');
  const { host } = request.headers;
  const secure_url = `http://${host}/image/upload/${publicId}`;
  return {
    asset_id: etag,
    public_id: publicId,
    version: 1,
    bytes,
    etag,
    secure_url,
    width: 1,
    height: 1,
    format: 'jpg',
  };
}

announce(server);
