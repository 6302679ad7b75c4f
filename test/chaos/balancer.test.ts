import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { type Balancer, startBalancer } from './balancer.ts';
import { createRandom } from './random.ts';

const sent = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 31 + (at >> 8) * 7) % 251));

describe('the network of npm run chaos', () => {
  const received: Buffer[][] = [];
  let server: Server;
  let balancer: Balancer;
  before(async () => {
    server = createServer((socket) => {
      const pieces: Buffer[] = [];
      received.push(pieces);
      socket.on('data', (piece: Buffer) => pieces.push(piece));
      socket.on('error', () => {});
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    balancer = await startBalancer([(server.address() as AddressInfo).port], createRandom('network').fork('network'));
  });
  after(async () => {
    await balancer.close();
    server.close();
    await once(server, 'close');
  });

  // Were it otherwise, the checker would blame the gateway for what the network did.
  it('may break off, and delivers nothing else than what was sent, in order', async () => {
    const disturb = [() => balancer.halfOpen(0.5), () => balancer.stall(0.5), () => balancer.cut(0.2), () => {}];
    for (let round = 0; round < 40; round++) {
      for (let count = 0; count < 5; count++) {
        const client = connect(Number(new URL(balancer.url).port), '127.0.0.1');
        client.on('error', () => {});
        client.end(sent);
      }
      await delay(20);
      const goOn = disturb[round % disturb.length]?.();
      if (goOn) setTimeout(goOn, 100);
    }
    balancer.hurry();
    while (balancer.connections > 0) await delay(20);

    const whole = received.map((pieces) => Buffer.concat(pieces));
    expect(whole.length).to.be.above(100);
    const wrong = whole.filter((bytes) => !bytes.equals(sent.subarray(0, bytes.length)));
    expect(wrong.length, 'connections with other bytes').to.equal(0);
    expect(whole.some((bytes) => bytes.length === sent.length)).to.equal(true);
    expect(whole.some((bytes) => bytes.length < sent.length)).to.equal(true);
  });
});
