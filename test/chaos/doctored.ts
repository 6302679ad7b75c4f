import type { Evidence, Vitals } from './evidence.ts';
import type { Entry } from './journal.ts';
import type { Photo } from './plan.ts';

/** Evidence in which a test may change what it likes. */
export type Doctored = Evidence & { journal: Entry[]; records: NonNullable<Evidence['records']> } & {
  views: NonNullable<Evidence['views']>;
};

/** A small world in which everything went well: one ticket, three photos, one kill. */
export function flawless(): Doctored {
  const photos = [photo('p0'), photo('p1'), photo('p2')];
  const uploads = photos.map(({ id }) => ({ photo: id, upload: `image-${id}` }));
  return {
    plan: {
      users: 1,
      tickets: [
        { id: 't0', user: 0, startMs: 0, places: 3, photos, parallel: 1, listeners: 1, withUploadToken: false },
      ],
    },
    processes: 1,
    journal: [
      { at: 0, kind: 'process', index: 0, event: 'ready', pid: 1, name: 'first' },
      ...uploads.flatMap((upload, index) => wayOf(upload, 1_000 + 100 * index, 2 + 4 * index)),
      { at: 20_000, kind: 'stream', listener: 't0.0', event: 'end', version: 13 },
    ],
    records: {
      tickets: [{ id: 'ticket', status: 'completed', expected: 3, claimed: 3, received: 3, stored: 3, failed: 0 }],
      images: uploads.map(({ upload }) => ({ id: upload, ticketId: 'ticket', status: 'stored', error: null })),
      jobs: [],
    },
    ticketIds: { t0: 'ticket' },
    views: [
      {
        listener: 't0.0',
        ticket: 'ticket',
        images: Object.fromEntries(uploads.map(({ upload }) => [upload, 'stored'])),
        ended: true,
      },
    ],
    assets: photos.map(({ id, sha256, size }) => ({ publicId: `hopla/image-${id}`, bytes: size, sha256 })),
    staged: [],
    vitals: { before: [vitals], after: [vitals] },
  };
}

const vitals: Vitals = {
  index: 0,
  descriptors: 30,
  clientSockets: 0,
  stagedFiles: 0,
  rssBytes: 150e6,
  heapBytes: 40e6,
};

function photo(id: string): Photo {
  const sha256 = id.padEnd(64, '0');
  const plain = { chunkSize: null, withCreation: false, deferLength: false, tellSha256: false };
  return { id, size: 1000, sha256, slot: id, ...plain };
}

/** Claimed, uploaded with one kill in between, and stored. */
function wayOf({ photo: id, upload }: { photo: string; upload: string }, at: number, version: number): Entry[] {
  const moved = (later: number, from: string | null, to: string): Entry[] => {
    version += 1;
    return [
      { at: at + later, kind: 'moved', image: upload, ticket: 'ticket', from, to, skipped: false, holder: 'first' },
      { at: at + later, kind: 'stream', listener: 't0.0', event: 'image', version: version - 1 },
    ];
  };
  const answer = (later: number, method: string, status: number, offset: number | null): Entry => ({
    ...{ at: at + later, kind: 'response', photo: id, method, upload, status, offset },
  });
  return [
    { at, kind: 'started', photo: id },
    ...(id === 'p0' ? [{ at, kind: 'stream', listener: 't0.0', event: 'snapshot', version: 1 } as const] : []),
    ...moved(10, null, 'uploading'),
    answer(10, 'POST', 201, null),
    answer(20, 'HEAD', 200, 500),
    ...moved(30, 'uploading', 'received'),
    answer(30, 'PATCH', 204, 1000),
    { at: at + 31, kind: 'told', photo: id, upload },
    ...moved(40, 'received', 'transferring'),
    ...moved(50, 'transferring', 'stored'),
  ];
}
