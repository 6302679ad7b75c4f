import { connect, type Socket } from 'node:net';

/** Where to send images, and how one is sent: a list of requests, each made when the answer to the one before is here. */
export type Target = { host: string; port: number; requests: RequestOf[] };

/** Makes the bytes of one request. `location` is what the first answer said. */
export type RequestOf = (image: number, location: string) => Buffer[];

/** What one run gave: milliseconds of each image from its first byte to its last answer. */
export type Run = { images: number; seconds: number; latenciesMs: number[]; clientCpuSeconds: number };

/**
 * Sends `images` images over `connections` keep-alive connections, each busy all the time.
 *
 * Written on bare sockets with ready-made bytes, so that it takes a small part of the CPU that any server takes for the
 * same images; `clientCpuSeconds` says how small.
 */
export async function load(target: Target, images: number, connections: number): Promise<Run> {
  const latenciesMs: number[] = [];
  let next = 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const work = async () => {
    let connection = await openConnection(target);
    try {
      for (let image = next++; image < images; image = next++) {
        const begun = performance.now();
        let location = '';
        for (const requestOf of target.requests) {
          const { status, head } = await connection.exchange(requestOf(image, location));
          if (/^connection: *close/im.test(head)) {
            connection.close();
            connection = await openConnection(target);
          }
          if (status >= 300) throw new Error(`image ${image} was answered ${head}`);
          location ||= /^location: *(?:https?:\/\/[^/]+)?(\S+)/im.exec(head)?.[1] ?? '';
        }
        latenciesMs.push(performance.now() - begun);
      }
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: connections }, work));
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { images, seconds, latenciesMs, clientCpuSeconds: (user + system) / 1e6 };
}

type Reply = { status: number; head: string };

async function openConnection({
  host,
  port,
}: Target): Promise<{ exchange(request: Buffer[]): Promise<Reply>; close(): void }> {
  const socket: Socket = connect({ host, port, noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
  let waiting: PromiseWithResolvers<Reply> | null = null;
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
    const reply = parseReply(text);
    if (!reply) return;
    text = text.slice(reply.length);
    waiting?.resolve(reply);
  });
  socket.on('error', (error) => waiting?.reject(error));
  socket.on('close', () => waiting?.reject(new Error('the server closed the connection')));
  return {
    exchange(request) {
      waiting = Promise.withResolvers();
      socket.cork();
      for (const piece of request) socket.write(piece);
      socket.uncork();
      return waiting.promise;
    },
    close: () => socket.destroy(),
  };
}

/** A whole answer at the start of `text`, with the length it has there. */
function parseReply(text: string): (Reply & { length: number }) | null {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return null;
  const head = text.slice(0, end);
  const body = end + 4;
  const length = /^transfer-encoding: *chunked/im.test(head)
    ? text.indexOf('0\r\n\r\n', body) + 5
    : body + Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  if (length < body || text.length < length) return null;
  return { status: Number(head.slice(9, 12)), head, length };
}
