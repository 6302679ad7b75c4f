import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy that fails as networks do. */
export type CutProxy = {
  /** The address given, through the proxy. */
  readonly url: string;
  /** Resets every connection, and each new one, until `restore`. */
  cut(): void;
  /** Drops all bytes silently, on new connections too, until `restore`. */
  freeze(): void;
  /**
   * Lets new connections pass again. Frozen connections continue where the freeze met them; with `forget` frozen
   * connections stay silent for ever, as behind a firewall that lost its state.
   */
  restore(options?: { forget?: boolean }): void;
  /**
   * Springs once, when a client has sent these texts in order over one connection: `before` the last text gets through,
   * or `after` the text did and the answer did not. The proxy then cuts all connections. A last `COMMIT;` also matches a
   * statement outside a transaction. Setting a trap resets the open connections, where the text of a prepared statement
   * would not be sent again.
   */
  trap(texts: string[], when: 'before' | 'after'): Promise<void>;
  /** Cuts or freezes once clients have sent so many more bytes; before a `freeze` the bytes still get through. */
  after(bytes: number, what: 'cut' | 'freeze'): Promise<void>;
  close(): Promise<void>;
};

type Mode = 'pass' | 'cut' | 'freeze';
type Trap = { texts: string[]; when: 'before' | 'after'; spring: () => void };
type Meter = { left: number; what: 'cut' | 'freeze'; spring: () => void };
type Link = { client: Socket; target: Socket; seen: number; inTransaction: boolean; forgotten: boolean };

/** Starts a proxy in front of the host and port of an URL. */
export async function startCutProxy(targetUrl: string): Promise<CutProxy> {
  const { hostname, port } = new URL(targetUrl);
  const links = new Set<Link>();
  const waiting = new Set<Socket>();
  let mode: Mode = 'pass';
  let trap: Trap | null = null;
  let meter: Meter | null = null;

  const cut = () => {
    mode = 'cut';
    for (const { client, target } of links) {
      client.resetAndDestroy();
      target.destroy();
    }
    for (const client of waiting) client.resetAndDestroy();
    waiting.clear();
  };

  const freeze = () => {
    mode = 'freeze';
    for (const { client, target } of links) for (const socket of [client, target]) socket.pause();
  };

  const measure = (piece: Buffer) => {
    if (!meter) return;
    meter.left -= piece.length;
    if (meter.left > 0) return;
    const { what, spring } = meter;
    meter = null;
    if (what === 'cut') cut();
    else freeze();
    spring();
  };

  /** True when the piece must not get through. */
  const watch = (link: Link, piece: Buffer): boolean => {
    const inTransaction = link.inTransaction || piece.includes('BEGIN;');
    link.inTransaction = inTransaction && !piece.includes('COMMIT;') && !piece.includes('ROLLBACK');
    const text = trap?.texts[link.seen];
    if (!trap || text === undefined || !piece.includes(text)) return false;
    link.seen += 1;
    if (!inTransaction && trap.texts[link.seen] === 'COMMIT;') link.seen += 1;
    if (link.seen < trap.texts.length) return false;
    const { when, spring } = trap;
    trap = null;
    if (when === 'after') {
      // The target reads the piece, acts on the piece, and then ends the connection.
      link.client.resetAndDestroy();
      link.target.end(piece);
      links.delete(link);
    }
    cut();
    spring();
    return true;
  };

  const open = (client: Socket) => {
    const target = connect(Number(port), hostname);
    const link: Link = { client, target, seen: 0, inTransaction: false, forgotten: false };
    links.add(link);
    pass(client, target, (piece) => {
      measure(piece);
      return watch(link, piece);
    });
    pass(target, client, () => false);
    const end = () => {
      // A frozen connection hides the end of either side.
      if (mode === 'freeze' || link.forgotten) return;
      links.delete(link);
      client.destroy();
      target.destroy();
    };
    client.on('close', end);
    target.on('close', end);
  };

  const server = createServer({ noDelay: true }, (client) => {
    client.on('error', () => {});
    if (mode === 'cut') client.resetAndDestroy();
    else if (mode === 'pass') open(client);
    else waiting.add(client.pause());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    url: Object.assign(new URL(targetUrl), {
      hostname: '127.0.0.1',
      port: `${(server.address() as AddressInfo).port}`,
    }).href,
    cut,
    freeze,
    restore({ forget = false } = {}) {
      mode = 'pass';
      for (const link of links) {
        if (forget) link.forgotten = true;
        else if (!link.forgotten) for (const socket of [link.client, link.target]) socket.resume();
        if (!forget && (link.client.destroyed || link.target.destroyed)) {
          links.delete(link);
          link.client.destroy();
          link.target.destroy();
        }
      }
      for (const client of waiting) open(client);
      waiting.clear();
    },
    trap(texts, when) {
      cut();
      mode = 'pass';
      return new Promise((spring) => {
        trap = { texts, when, spring };
      });
    },
    after: (bytes, what) =>
      new Promise((spring) => {
        meter = { left: bytes, what, spring };
      }),
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Passes bytes on at the speed of the receiver; a paused socket passes no bytes. */
function pass(from: Socket, to: Socket, stops: (piece: Buffer) => boolean): void {
  from.on('data', (piece) => {
    if (!stops(piece)) to.write(piece);
  });
  // A reset is an ordinary end here; `close` follows.
  from.on('error', () => {});
}
