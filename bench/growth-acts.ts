import { randomUUIDv7 } from 'node:crypto';
import type { PgBoss } from 'pg-boss';
import pino from 'pino';
import { readOverview } from '../src/admin/operations/overview.ts';
import { searchImages } from '../src/admin/search/images.ts';
import { searchTickets } from '../src/admin/search/tickets.ts';
import { searchTokens } from '../src/admin/search/tokens.ts';
import { searchUsers } from '../src/admin/search/users.ts';
import type { Database } from '../src/database/connection.ts';
import { findCaller } from '../src/identity/tokens.ts';
import { claimPlace } from '../src/ledger/claim-slots.ts';
import { expireTickets } from '../src/ledger/expire.ts';
import { createGroupedWrites } from '../src/ledger/grouped-writes.ts';
import type { ReceivedFacts } from '../src/ledger/received-image.ts';
import type { Staging } from '../src/staging/local/folder.ts';
import type { Receipt } from '../src/storage/port.ts';
import { findTicketOf } from '../src/tickets/access.ts';
import { listTickets, TicketQuery } from '../src/tickets/list.ts';
import { openTicket, TicketRequest } from '../src/tickets/open.ts';
import { readTicketById } from '../src/tickets/show.ts';
import { viewDetail } from '../src/tickets/view.ts';
import { createFastPath } from '../src/transfers/fast-path.ts';
import { createRecords } from '../src/transfers/grouped-records.ts';
import { queueOf } from '../src/transfers/job.ts';
import { enqueueTransfers, fetchTransfers } from '../src/transfers/pgboss-sql.ts';
import { type RecoveryDeps, startRecovery } from '../src/transfers/recovery.ts';
import type { Seeded } from './growth-seed.ts';

/** One database with everything that the gateway's functions ask for. */
export type Side = { name: string; db: Database; boss: PgBoss; staging: Staging; seeded: Seeded };

/** What somebody asks of the gateway, whose time is measured. */
export type Act = (side: Side) => Promise<unknown>;

const newest = (query: Record<string, string> = {}) => TicketQuery.parse(query);
const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000);

/** Everything that only reads. `heavy` is the user with a tenth of all tickets. */
export const reads: Record<string, Act> = {
  'token → caller': ({ db, seeded }) => findCaller(db, seeded.ticketId),
  'list, first page': ({ db, seeded }) => listTickets(db, seeded.heavyUser, newest()),
  'list, page in the middle': ({ db, seeded }) => listTickets(db, seeded.heavyUser, newest({ cursor: seeded.cursor })),
  'list, user with few': ({ db, seeded }) => listTickets(db, seeded.lightUser, newest()),
  'list, user who left': ({ db, seeded }) => listTickets(db, seeded.pastUser, newest()),
  'filter, user who left': ({ db, seeded }) => listTickets(db, seeded.pastUser, newest({ status: 'completed' })),
  'filter: processing': ({ db, seeded }) => listTickets(db, seeded.heavyUser, newest({ status: 'processing' })),
  'filter: completed': ({ db, seeded }) => listTickets(db, seeded.heavyUser, newest({ status: 'completed' })),
  'filter: three statuses, a week': ({ db, seeded }) =>
    listTickets(
      db,
      seeded.heavyUser,
      newest({ status: 'pending,expired,completed', createdFrom: daysAgo(7).toISOString() }),
    ),
  'detail, and the snapshot of a stream': async ({ db, seeded }) => {
    const caller = {
      tokenId: '',
      kind: 'user' as const,
      isLogin: false,
      ticketId: null,
      user: { ...someUser, id: seeded.heavyUser },
    };
    await findTicketOf(db, caller, seeded.ticketId);
    const state = await readTicketById(db, seeded.ticketId);
    return state && viewDetail(state.ticket, state.images, 'http://bench', () => 0);
  },
  'panel: overview': ({ db }) => readOverview(db),
  'panel: tickets': ({ db }) => searchTickets(db, { limit: 50 }),
  'panel: tickets being processed': ({ db }) => searchTickets(db, { limit: 50, status: ['processing'] }),
  'panel: tickets of a user': ({ db, seeded }) => searchTickets(db, { limit: 50, userId: seeded.heavyUser }),
  'panel: tickets of a user who left': ({ db, seeded }) => searchTickets(db, { limit: 50, userId: seeded.pastUser }),
  'panel: tickets expiring': ({ db }) => searchTickets(db, { limit: 50, order: 'expiring' }),
  'panel: images': ({ db }) => searchImages(db, { limit: 50 }),
  'panel: images failed': ({ db }) => searchImages(db, { limit: 50, status: 'failed' }),
  'panel: images of a ticket': ({ db, seeded }) => searchImages(db, { limit: 50, ticketId: seeded.ticketId }),
  'panel: tokens': ({ db }) => searchTokens(db, { limit: 50, kind: 'user' }),
  'panel: users': ({ db }) => searchUsers(db, { limit: 50 }),
  'sweep: expired tickets': ({ db }) => expireTickets(db),
  recovery: async ({ db, boss, staging }) => {
    const unused = {
      ...{ commitUpload: async () => {}, discardStaged: async () => {}, isElsewhere: async () => false },
      ...{
        quarantine: { take: async () => null, clear: async () => [] },
        maxImageBytes: 1,
        log: pino({ level: 'silent' }),
      },
    };
    const recovery = await startRecovery({ db, boss, staging, ...unused } as unknown as RecoveryDeps);
    await recovery.close();
  },
};

const HOLDER = 'bench';
const someUser = { username: 'bench', isAdmin: false };
const facts: ReceivedFacts = {
  ...{ size: 2_000_000, sha256: '0'.repeat(64) },
  ...{ contentType: 'image/jpeg', format: 'jpg', width: 4032, height: 3024 },
  ...{ orientation: 6, displayWidth: 3024, displayHeight: 4032 },
};
const receipt = (key: string): Receipt => ({
  ...{ provider: 'cloudinary', key, assetId: '0'.repeat(32), version: '1764000000', url: `http://bench/${key}.jpg` },
  ...{ bytes: facts.size, md5: '0'.repeat(32), width: facts.width, height: facts.height, format: facts.format },
});

/** One photo on its whole way, in a ticket of its own; says how long each step of it took. */
export async function photo(side: Side, step: <T>(name: string, run: () => Promise<T>) => Promise<T>): Promise<void> {
  const { db, staging, seeded } = side;
  const request = TicketRequest.parse({ images: 2, description: 'bench' });
  const { ticket } = await step('open a ticket', () => openTicket(db, seeded.heavyUser, request, randomUUIDv7()));
  const { reserve } = createFastPath();
  const countReceived = () => {};
  const arrivals = createGroupedWrites({ db, holder: HOLDER, enqueue: enqueueTransfers, reserve, countReceived });
  const place = {
    ...{ ticketId: ticket.id, imageId: randomUUIDv7(), slot: 'photo-1', size: facts.size, filename: 'IMG.jpg' },
    ...{ uploadMetadata: null, expectedSha256: null, staging: staging.id, holder: HOLDER, facts: null },
  };
  await step('claim a place', () => claimPlace(db, arrivals.takePlace, place));
  await step('finish (received, job queued)', () => arrivals.receive({ ...place, facts }));
  const queue = queueOf(staging.id);
  const [job] = await step('fetch a job', () => fetchTransfers(db, queue, 1));
  if (!job) throw new Error('there was no job to fetch');
  const records = createRecords(db);
  const claim = { ...job, name: queue, data: { imageId: place.imageId } };
  await step('begin the transfer', () => records.begin(claim));
  await step('record it as stored, job done', () => records.store(claim, receipt(place.imageId)));
}
