import { randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import pino from 'pino';
import { joinPeers, type Peers } from '../../../src/cluster/membership-unix.ts';
import { connectDatabase } from '../../../src/database/connection.ts';
import { startHub } from '../../../src/events/hub.ts';
import type { Hub } from '../../../src/events/types.ts';
import { openStaging, type Staging } from '../../../src/staging/local/folder.ts';
import { createOffsets, type Offsets } from '../../../src/uploads/session/offsets.ts';
import { until } from '../../support/client.ts';
import { createTestDatabase } from '../../support/database.ts';

const silent = pino({ level: 'silent' });

describe('the offsets of unfinished uploads', () => {
  const release = new AsyncDisposableStack();
  let staging: Staging;
  let hub: Hub;
  let otherHub: Hub;
  let peers: Peers;
  let offsets: Offsets;
  let directory: string;
  let looks = 0;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-offsets-'));
    release.defer(() => rm(directory, { recursive: true }));
    const database = await createTestDatabase();
    release.defer(() => database.drop());
    const db = connectDatabase(database.databaseUrl);
    release.defer(() => db.destroy());
    const openHub = async () => {
      const opened = await startHub(database.databaseUrl, db, silent);
      release.defer(() => opened.close());
      return opened;
    };
    hub = await openHub();
    otherHub = await openHub();
    peers = await joinPeers(directory, silent);
    release.defer(() => peers.close());
    staging = await openStaging({ directory, budgetBytes: 1e9, freeBytes: 0 });
    const watched = {
      id: staging.id,
      sizeOf(imageId: string) {
        looks += 1;
        return staging.sizeOf(imageId);
      },
    };
    offsets = createOffsets({ staging: watched, hub, peers });
    release.defer(() => offsets.close());
  });
  after(() => release.disposeAsync());

  const upload = async (bytes: number | null) => {
    const image = { id: randomUUID(), staging: staging.id };
    if (bytes !== null) await writeFile(staging.pathOf(image.id), Buffer.alloc(bytes));
    return image;
  };
  const looksFor = async (read: () => Promise<unknown>) => {
    looks = 0;
    await read();
    return looks;
  };

  it('are asked of the disk once for each, however many want to know', async () => {
    const images = await Promise.all(Array.from({ length: 100 }, (_, n) => upload(n === 0 ? null : n)));
    const all = () => Promise.all(images.map(offsets.of));
    expect(await looksFor(() => Promise.all(Array.from({ length: 20 }, all)))).to.equal(100);
    expect(await looksFor(async () => expect(await all()).to.deep.equal(images.map((_, n) => n)))).to.equal(0);
  });

  it('are what was written here, without a look; of two writes the further one counts', async () => {
    const image = await upload(null);
    offsets.wrote(image.id, 100);
    offsets.wrote(image.id, 300);
    offsets.wrote(image.id, 200);
    expect(await looksFor(async () => expect(await offsets.of(image)).to.equal(300))).to.equal(0);
    // A write that failed may have left a part: the disk knows.
    await writeFile(staging.pathOf(image.id), Buffer.alloc(250));
    offsets.forget(image.id);
    expect(await looksFor(async () => expect(await offsets.of(image)).to.equal(250))).to.equal(1);
    offsets.wrote(image.id, 260);
    expect(await offsets.of(image), 'not the most of all times').to.equal(260);
  });

  it('are what another process announced, but for those that are written here', async () => {
    const [theirs, ours, far] = [await upload(null), await upload(null), { id: randomUUID(), staging: randomUUID() }];
    offsets.wrote(ours.id, 10);
    await until('it is heard', async () => {
      for (const { id: imageId } of [ours, theirs, far])
        otherHub.report({ imageId, ticketId: imageId, userId: imageId, leg: 'upload', bytes: 77, total: 100 });
      return (await offsets.of(far)) === 77 && (await offsets.of(theirs)) === 77;
    });
    expect(await offsets.of(ours)).to.equal(10);
    expect(await offsets.of({ id: randomUUID(), staging: randomUUID() }), 'on another machine').to.equal(0);
  });

  it('of others are asked again when another process has ended', async () => {
    const image = await upload(50);
    const other = await joinPeers(directory, silent);
    await until('they know each other', () => !peers.alone);
    expect(await offsets.of(image)).to.equal(50);
    await writeFile(staging.pathOf(image.id), Buffer.alloc(90));
    await other.close();
    await until('its end is noticed', () => peers.alone);
    expect(await offsets.of(image)).to.equal(90);
  });
});
