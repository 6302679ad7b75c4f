import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { expect } from 'chai';
import type { Fault } from '../../packages/sandbox/cloudinary/faults.ts';
import { type Api, createApi, until } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { createHost, type Hopla, type Host } from './child.ts';
import { beginUpload, expectStoredOnce, untilImage } from './rig.ts';

describe('while the database is away', () => {
  let host: Host;
  let hopla: Hopla;
  let line: Line;
  let api: Api;
  before(async () => {
    host = await createHost();
    line = await openLine(host.databaseUrl);
    hopla = await host.start({ DATABASE_URL: line.url });
    api = createApi(host.url, host.token);
  });
  after(async () => {
    await host.close();
    await line.close();
  });

  /** The connection to the database is lost when the storage has the image, and before anybody heard of it. */
  const loseDatabase = async (fault: Fault, seed: number) => {
    const bytes = jpeg({ bytes: 200_000, seed });
    host.cloudinary.faults.add({ match: { operation: 'upload' }, times: 1, fault });
    const begun = await beginUpload(api, await api.openTicket(1), bytes);
    await begun.send();
    const arrived = () =>
      host.cloudinary.ledger.entries({ publicId: `hopla/${begun.imageId}` }).some(({ md5 }) => md5 !== null);
    await until('the storage has it', arrived);
    line.cut();
    return { bytes, begun };
  };
  const untilUnrecorded = (imageId: string) =>
    until('the log says so', () =>
      hopla.lines.some((line) => line.imageId === imageId && /could not be recorded/.test(line.msg)),
    );

  it('keeps a receipt from getting lost, and the image from being stored again', async () => {
    const { bytes, begun } = await loseDatabase({ kind: 'delay', ms: 300 }, 1);
    await untilUnrecorded(begun.imageId);
    line.mend();
    const image = await untilImage(api, begun, ['stored'], 8_000);
    expect(image.attempts).to.equal(0);
    await expectStoredOnce(host.cloudinaryDirectory, image, bytes);
    const sent = host.cloudinary.ledger.entries({ publicId: `hopla/${begun.imageId}` });
    expect(sent.filter(({ stored }) => stored)).to.have.length(1);
    await until('staging is empty', async () => (await host.stagedFiles()).length === 0);
  });

  it('repeats what failed meanwhile', async () => {
    // Whether the storage is away is asked before the failure is recorded: long enough for the database to go first.
    host.cloudinary.faults.add({ match: { operation: 'ping' }, times: 1, fault: { kind: 'delay', ms: 500 } });
    const { bytes, begun } = await loseDatabase({ kind: 'reset-before-storing' }, 2);
    await untilUnrecorded(begun.imageId);
    line.mend();
    await expectStoredOnce(host.cloudinaryDirectory, await untilImage(api, begun, ['stored'], 8_000), bytes);
  });

  it('ends well when it is told to stop, and the next process goes on', async () => {
    const { bytes, begun } = await loseDatabase({ kind: 'delay', ms: 300 }, 3);
    hopla.kill('SIGTERM');
    expect(await hopla.ended).to.equal(0);
    line.mend();
    await host.start({ DATABASE_URL: line.url });
    await expectStoredOnce(host.cloudinaryDirectory, await untilImage(api, begun, ['stored'], 8_000), bytes);
  });
});

/** A TCP line to the database that can be cut and mended. */
type Line = { url: string; cut(): void; mend(): void; close(): Promise<void> };

async function openLine(databaseUrl: string): Promise<Line> {
  const target = new URL(databaseUrl);
  const sockets = new Set<Socket>();
  let whole = true;
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server: Server = createServer((near) => {
    keep(near);
    if (!whole) return void near.destroy();
    const far = connect(Number(target.port), target.hostname);
    keep(far);
    near.pipe(far).pipe(near);
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => {
    whole = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: Object.assign(new URL(databaseUrl), { host: `127.0.0.1:${(server.address() as AddressInfo).port}` }).href,
    cut,
    mend() {
      whole = true;
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
}
