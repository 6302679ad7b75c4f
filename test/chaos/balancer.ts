import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import type { Random } from './random.ts';

/** A TCP balancer in front of the processes, which can misbehave as networks do. */
export type Balancer = {
  readonly url: string;
  /** Connections right now. */
  readonly connections: number;
  /** Resets some of the connections at both ends. */
  cut(share: number): void;
  /** Moves nothing on some of the connections until the function that is given back is called. */
  stall(share: number): () => void;
  /**
   * Resets some of the connections at the client's end alone. Until the function is called the server does not hear of it;
   * then it gets the last bytes that were on their way, late, and the end.
   */
  halfOpen(share: number): () => void;
  /** Lets requests through and resets both ends instead of passing an answer on, until the function is called. */
  loseAnswers(share: number): () => void;
  /** From now on every client has a fast network. */
  hurry(): void;
  close(): Promise<void>;
};

type Pair = {
  client: Socket;
  server: Socket;
  stalled: boolean;
  /** The client is gone and the server has not been told. */
  halfOpen: boolean;
  /** What such a client had sent and the server has not got yet. */
  late: Buffer[];
  losesAnswers: boolean;
};

/** Bytes per second from a client: some are on a wire, most are phones, some of them in a train. */
const rates = [null, 1_000_000, 300_000, 100_000, 40_000] as const;

/** Between bytes that arrive late and the end of their connection. */
const LATE_MS = 200;

export async function startBalancer(ports: readonly number[], random: Random): Promise<Balancer> {
  const pairs = new Set<Pair>();
  let next = 0;
  let losing = 0;
  let hurrying = false;

  const server = createServer({ allowHalfOpen: true }, (client) => void accept(client));
  const accept = async (client: Socket) => {
    client.on('error', () => {});
    next += 1;
    // Round robin, and past a process that is away.
    for (let tries = 0; tries < ports.length; tries++) {
      const upstream = connect({
        port: ports[(next + tries) % ports.length] ?? 0,
        host: '127.0.0.1',
        allowHalfOpen: true,
      });
      const connected = await once(upstream, 'connect').then(
        () => true,
        () => false,
      );
      upstream.on('error', () => {});
      if (connected) return join(client, upstream);
    }
    client.resetAndDestroy();
  };

  const join = (client: Socket, upstream: Socket) => {
    const pair: Pair = {
      client,
      server: upstream,
      stalled: false,
      halfOpen: false,
      late: [],
      losesAnswers: random.next() < losing,
    };
    if (client.destroyed) return void upstream.destroy();
    pairs.add(pair);
    const rate = random.pick(rates);
    const pauseMs = (bytes: number) => (rate === null || hurrying ? 0 : (1000 * bytes) / rate);
    forward(pair, client, upstream, pauseMs, () => {});
    forward(
      pair,
      upstream,
      client,
      () => 0,
      () => {
        if (pair.losesAnswers) resetBoth(pair);
      },
    );
    client.once('close', () => {
      if (!pair.halfOpen) upstream.destroy();
    });
    upstream.once('close', () => {
      pairs.delete(pair);
      client.destroy();
    });
  };

  const some = (share: number) => [...pairs].filter((pair) => !pair.halfOpen && random.chance(share));

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return pairs.size;
    },
    cut(share) {
      for (const pair of some(share)) resetBoth(pair);
    },
    stall(share) {
      const stalled = some(share);
      for (const pair of stalled) {
        pair.stalled = true;
        pair.client.pause();
        pair.server.pause();
      }
      return () => {
        for (const pair of stalled) {
          pair.stalled = false;
          pair.client.resume();
          pair.server.resume();
        }
      };
    },
    halfOpen(share) {
      const halves = some(share);
      for (const pair of halves) {
        pair.halfOpen = true;
        // What a pause held back comes out as `data` now, and is kept.
        pair.client.read();
        pair.client.resetAndDestroy();
      }
      return () => {
        for (const { server: upstream, late } of halves) {
          for (const bytes of late) upstream.write(bytes);
          setTimeout(() => upstream.destroy(), LATE_MS);
        }
      };
    },
    loseAnswers(share) {
      losing = share;
      const losers = some(share);
      for (const pair of losers) pair.losesAnswers = true;
      return () => {
        losing = 0;
        for (const pair of pairs) pair.losesAnswers = false;
      };
    },
    hurry() {
      hurrying = true;
    },
    async close() {
      server.close();
      for (const pair of pairs) resetBoth(pair);
      await once(server, 'close');
    },
  };
}

/** Moves bytes one way, not faster than the other end takes them, and with a pause after each piece. */
function forward(pair: Pair, from: Socket, to: Socket, pauseMs: (bytes: number) => number, look: () => void): void {
  const goOn = () => {
    if (!pair.stalled && !from.destroyed) from.resume();
  };
  from.on('data', (chunk: Buffer) => {
    look();
    if (pair.halfOpen) {
      if (from === pair.client) pair.late.push(chunk);
      return;
    }
    if (to.destroyed) return;
    const ms = pauseMs(chunk.length);
    if (to.write(chunk) && ms === 0) return;
    from.pause();
    if (to.writableNeedDrain) to.once('drain', goOn);
    else setTimeout(goOn, ms);
  });
  from.on('end', () => {
    if (!to.destroyed) to.end();
  });
}

function resetBoth({ client, server }: Pair): void {
  client.resetAndDestroy();
  server.resetAndDestroy();
}
