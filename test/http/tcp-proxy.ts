import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy in front of a server that a test can take away and bring back. */
export type TcpProxy = {
  /** The given URL, with this proxy in place of its host and port. */
  url: string;
  /** Cuts every connection, and every new one, until `restore`. */
  cut(): void;
  restore(): void;
  close(): Promise<void>;
};

/** @param delayMs how long everything takes on its way, in either direction */
export async function startTcpProxy(targetUrl: string, { delayMs = 0 } = {}): Promise<TcpProxy> {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  let away = false;
  const later = (act: () => void) => (delayMs === 0 ? act() : setTimeout(act, delayMs));
  const server = createServer((client) => {
    if (away) {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(target.port), target.hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(socket);
      socket.on('data', (bytes) => later(() => other.write(bytes)));
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        sockets.delete(socket);
        later(() => other.destroy());
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    away = true;
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: Object.assign(new URL(targetUrl), { host: `127.0.0.1:${port}` }).href,
    cut,
    restore() {
      away = false;
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
