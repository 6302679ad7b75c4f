import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Exchange = { req: IncomingMessage; res: ServerResponse; number: number };

/** A server that answers as a test says, for answers that no working Cloudinary gives. */
export async function startScriptedServer(script: (exchange: Exchange) => unknown) {
  let number = 0;
  const server = http.createServer((req, res) => {
    number += 1;
    script({ req, res, number });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    cloudinaryUrl: `cloudinary://key:${secret}@cloud?upload_prefix=${encodeURIComponent(url)}`,
    requests: () => number,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Part of every test's account; must not be seen in any error. */
export const secret = 'the-secret-of-the-account';

/** Reads the request to its end, then answers. A string body goes as it is, anything else as JSON. */
export async function answer({ req, res }: Exchange, status: number, body: unknown, headers = {}): Promise<void> {
  await req.resume().toArray();
  res.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
}
