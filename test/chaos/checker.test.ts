import { expect } from 'chai';
import { check } from './checker.ts';
import { type Doctored, flawless } from './doctored.ts';
import type { Entry } from './journal.ts';
import { makeScore } from './scoreboard.ts';

/** Each lie, and what has to be said of it: the invariants that are violated, and how often. */
const lies: [string, (world: Doctored) => void, Record<string, number>][] = [
  [
    'a photo that was acknowledged and is nowhere',
    (world) => void world.assets.splice(0, 1),
    { 'acknowledged photos lost': 1, 'assets per photo other than one': 1 },
  ],
  [
    'a wrong byte',
    (world) => alter(world.assets[1], { sha256: 'f'.repeat(64) }),
    { 'acknowledged photos lost': 1, 'stored bytes that differ': 1 },
  ],
  [
    'a photo stored twice',
    (world) => void world.assets.push({ ...at(world.assets, 0), publicId: 'hopla/another' }),
    { 'assets per photo other than one': 1 },
  ],
  [
    'a photo without a slot stored more often than its client sent it',
    (world) => {
      world.assets.push({ ...at(world.assets, 0), publicId: 'hopla/another' });
      alter(world.plan.tickets[0]?.photos[0], { slot: null, withCreation: true });
      insert(world, { at: 1_001, kind: 'asked', photo: 'p0', method: 'POST' });
    },
    { 'assets per photo other than one': 1 },
  ],
  [
    'an asset that nobody sent',
    (world) => void world.assets.push({ publicId: 'hopla/stranger', bytes: 1, sha256: 'e'.repeat(64) }),
    { 'assets that belong to no photo': 1 },
  ],
  [
    'a client that was turned away',
    (world) => {
      replace(world, (entry) => entry.kind === 'told' && entry.photo === 'p2', {
        ...{ at: 1231, kind: 'gave-up', photo: 'p2', status: 404, message: 'not found' },
      });
    },
    { 'photos that their client could not deliver': 1 },
  ],
  [
    'a client that was left waiting',
    (world) => remove(world, (entry) => entry.kind === 'told' && entry.photo === 'p2'),
    { 'photos that their client could not deliver': 1 },
  ],
  [
    'an offset that went back',
    (world) => {
      const response = { kind: 'response', photo: 'p0', method: 'HEAD', upload: 'image-p0', status: 200 } as const;
      insert(world, { ...response, at: 1025, offset: 499 });
    },
    { 'offsets that went backwards': 1 },
  ],
  ['a 503 on HEAD', (world) => insert(world, { ...head, status: 503 }), { '5xx on HEAD': 1 }],
  ['a 500', (world) => insert(world, { ...head, method: 'POST', status: 500 }), { 'answers 500': 1 }],
  [
    'a 404 on HEAD',
    (world) => insert(world, { ...head, status: 404 }),
    { 'HEAD answers that make clients start over': 1 },
  ],
  ['a file left behind', (world) => void world.staged.push('image-p0'), { 'files left in staging': 1 }],
  [
    'one image more than there are places',
    (world) => alter(world.records.tickets[0], { expected: 2 }),
    { 'places over N, or miscounted': 1 },
  ],
  [
    'a counter that is wrong',
    (world) => alter(world.records.tickets[0], { received: 2 }),
    { 'places over N, or miscounted': 1 },
  ],
  [
    'an image that was forgotten',
    (world) => {
      alter(world.records.images[0], { status: 'received' });
      alter(world.records.tickets[0], { stored: 2, status: 'processing' });
    },
    { 'images that came to no end': 1, 'tickets that came to no end': 1, 'listeners with a wrong picture': 1 },
  ],
  [
    'a job left in the queue',
    (world) => void world.records.jobs.push({ id: 'image-p0', state: 'retry' }),
    { 'jobs left in the queue': 1 },
  ],
  [
    'a ticket nobody asked for',
    (world) => {
      world.ticketIds = {};
    },
    { 'tickets opened twice': 1 },
  ],
  [
    'an image that came back from the dead',
    (world) => insert(world, { ...step, from: 'stored', to: 'transferring', skipped: false }),
    { 'illegal transitions': 1 },
  ],
  [
    'a step that was left out',
    (world) => insert(world, { ...step, from: 'uploading', to: 'stored', skipped: false }),
    { 'illegal transitions': 1 },
  ],
  [
    'a way back that nobody saw',
    (world) => insert(world, { ...step, from: 'stored', to: 'received', skipped: true }),
    { 'illegal transitions': 1 },
  ],
  [
    'an event that was left out',
    (world) => remove(world, (entry) => entry.kind === 'stream' && entry.version === 5),
    { 'gaps in event streams': 1 },
  ],
  [
    'a listener that shows an image that is not there',
    (world) => alter(world.views[0], { images: { ...world.views[0]?.images, phantom: 'uploading' } }),
    { 'listeners with a wrong picture': 1 },
  ],
  ['a stream that never ended', (world) => alter(world.views[0], { ended: false }), { 'streams without their end': 1 }],
  ['a process that is gone', (world) => void world.vitals.after.splice(0), { 'processes missing at the end': 1 }],
  ['a staged file still open', (world) => alterVitals(world, { stagedFiles: 1 }), { 'descriptors not given back': 1 }],
  [
    'connections that nobody closed',
    (world) => alterVitals(world, { clientSockets: 3, descriptors: 90 }),
    { 'descriptors not given back': 2 },
  ],
  ['a heap that grew', (world) => alterVitals(world, { heapBytes: 100e6 }), { 'memory not given back': 1 }],
  [
    'an upload that stood still after a disturbance',
    (world) => {
      disturb(world, -17_000, -16_000);
      insert(world, { at: 16_000, kind: 'begin', disturbance: 9, name: 'later' });
    },
    { 'work that did not go on within 15 s': 1 },
  ],
  [
    'a transfer that was not resumed after a kill',
    (world) => {
      const image = { kind: 'moved', image: 'image-p9', ticket: 'ticket', skipped: false } as const;
      insert(world, { ...image, at: 10_000, from: 'received', to: 'transferring' });
      insert(world, { at: 10_100, kind: 'process', index: 0, event: 'exited', pid: 1, how: 'SIGKILL' });
      insert(world, { at: 10_900, kind: 'process', index: 0, event: 'ready', pid: 2 });
      insert(world, { ...image, at: 16_500, from: 'transferring', to: 'transferring' });
    },
    { 'interrupted transfers not resumed within 5 s': 1 },
  ],
  [
    'a transfer that no other process took over',
    (world) => {
      world.processes = 2;
      insert(world, { at: 0, kind: 'process', index: 1, event: 'ready', pid: 2, name: 'second' });
      for (const entry of world.journal)
        if (entry.kind === 'moved' && entry.image === 'image-p1') alter(entry, { holder: 'second' });
      const image = { kind: 'moved', image: 'image-p9', ticket: 'ticket', skipped: false } as const;
      insert(world, { ...image, at: 2_000, from: 'received', to: 'transferring' });
      insert(world, { at: 2_100, kind: 'process', index: 0, event: 'exited', pid: 1, how: 'SIGKILL' });
      insert(world, { ...image, at: 17_500, from: 'transferring', to: 'transferring' });
    },
    { 'interrupted transfers not resumed within 15 s': 1 },
  ],
  [
    'a second process that only looked on',
    (world) => alter(world, { processes: 2 }),
    { 'processes that received no photo': 1 },
  ],
];

const head = { at: 1025, kind: 'response', photo: 'p0', method: 'HEAD', upload: 'image-p0', offset: null } as const;
const step = { at: 5_000, kind: 'moved', image: 'image-p0', ticket: 'ticket' } as const;

describe('the checker of npm run chaos', () => {
  it('finds nothing where nothing is wrong', () => {
    expect(violationsOf(flawless())).to.deep.equal({});
  });

  for (const [lie, tell, expected] of lies) {
    it(`finds ${lie}`, () => {
      const world = flawless();
      tell(world);
      expect(violationsOf(world)).to.deep.equal(expected);
    });
  }

  it('lets the last of too many clients give up, and nobody else', () => {
    const world = flawless();
    const [ticket] = world.plan.tickets;
    if (!ticket) throw new Error('the flawless world has a ticket');
    const extra = ['p3', 'p4'].map((id) => ({ ...at(ticket.photos, 0), id, sha256: id.padEnd(64, '0') }));
    ticket.photos.push(...extra);
    ticket.places = 4;
    alter(world.records.tickets[0], { expected: 4 });
    for (const { id } of extra)
      insert(world, { at: 3_000, kind: 'gave-up', photo: id, status: 422, message: 'code: ticket-full' });
    expect(violationsOf(world)).to.deep.equal({ 'photos that their client could not deliver': 1 });
  });

  it('lets a client start over whose upload never came into the database', () => {
    const world = flawless();
    insert(world, { ...head, upload: 'image-never-committed', status: 404 });
    expect(violationsOf(world)).to.deep.equal({});
  });

  it('lets a photo without a slot be stored once for each time that it was sent whole', () => {
    const world = flawless();
    world.assets.push({ ...at(world.assets, 0), publicId: 'hopla/another' });
    alter(world.plan.tickets[0]?.photos[0], { slot: null, withCreation: true });
    for (const time of [1_001, 1_002]) insert(world, { at: time, kind: 'asked', photo: 'p0', method: 'POST' });
    expect(violationsOf(world)).to.deep.equal({});
  });

  it('says how to play the same world again', () => {
    const options = {
      seed: 'x7',
      minutes: 2,
      photos: 10,
      processes: 2,
      target: 'hopla',
      json: false,
      keep: false,
    } as const;
    const score = makeScore(options, check(flawless()), [], [], null);
    expect(score.replay).to.equal('npm run chaos -- --seed x7 --minutes 2 --photos 10 --processes 2');
    expect(score.violations).to.equal(0);
  });
});

function violationsOf(world: Doctored): Record<string, number> {
  const found = check(world).filter(({ violations }) => violations.length > 0);
  return Object.fromEntries(found.map(({ invariant, violations }) => [invariant, violations.length]));
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`nothing at ${index}`);
  return item;
}

function alter<T extends object>(item: T | undefined, change: Partial<T>): void {
  if (!item) throw new RangeError('nothing to alter');
  Object.assign(item, change);
}

function alterVitals({ vitals }: Doctored, change: Partial<Doctored['vitals']['after'][0]>): void {
  vitals.after = vitals.after.map((now) => ({ ...now, ...change }));
}

function insert({ journal }: Doctored, entry: Entry): void {
  const later = journal.findIndex((other) => other.at > entry.at);
  journal.splice(later < 0 ? journal.length : later, 0, entry);
}

function remove(world: Doctored, which: (entry: Entry) => boolean): void {
  world.journal = world.journal.filter((entry) => !which(entry));
}

function replace(world: Doctored, which: (entry: Entry) => boolean, entry: Entry): void {
  remove(world, which);
  insert(world, entry);
}

function disturb(world: Doctored, from: number, to: number): void {
  world.journal.unshift(
    { at: from - 1, kind: 'started', photo: 'p0' },
    { at: from, kind: 'begin', disturbance: 1, name: 'a kill' },
    { at: to, kind: 'end', disturbance: 1, name: 'a kill' },
  );
}
