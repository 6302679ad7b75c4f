import { access, constants } from 'node:fs/promises';
import type { Middleware } from 'koa';
import type { Logger } from 'pino';
import packageJson from '../package.json' with { type: 'json' };
import { panelRoutes } from './admin/panel/routes.ts';
import { openApiRoutes } from './api-docs/openapi.ts';
import { docsRoutes } from './api-docs/routes.ts';
import { createLocker } from './cluster/local-lock.ts';
import { joinPeers } from './cluster/membership-unix.ts';
import { createHolders } from './cluster/ownership.ts';
import type { Config } from './config.ts';
import { connectDatabase, migrate } from './database/connection.ts';
import { startHub } from './events/hub.ts';
import { progressRoutes } from './events/sse/routes.ts';
import type { Hub } from './events/types.ts';
import { createApp, type State, standingHeaders } from './http/app.ts';
import { createConcurrencyLimit } from './http/concurrency-limit.ts';
import { healthRoutes, remember } from './http/health.ts';
import { holdRequests } from './http/held-requests.ts';
import { createRateLimit } from './http/rate-limit.ts';
import { type Route, routesOf } from './http/router.ts';
import { listen } from './http/server.ts';
import { createAuthentication } from './identity/bearer.ts';
import { createCallers } from './identity/callers.ts';
import { createPasswordChecks } from './identity/password-checks.ts';
import { identityRoutes } from './identity/routes.ts';
import { createTokenWatch } from './identity/token-watch.ts';
import { createGroupedWrites } from './ledger/grouped-writes.ts';
import { isStaged } from './model/states.ts';
import { createMetrics } from './observability/metrics.ts';
import { metricsRoutes } from './observability/metrics-routes.ts';
import { passBy, type Reach } from './runtime/failpoints.ts';
import { createIntake, type Intake, sniffs } from './staging/ingest.ts';
import { createBufferPool } from './staging/local/buffer-pool.ts';
import { openStaging, type Staging } from './staging/local/folder.ts';
import { startDiskThread } from './staging/local/io-thread.ts';
import { createQuarantine } from './staging/local/quarantine.ts';
import { watchLimits } from './storage/limits.ts';
import { openStorage } from './storage/open.ts';
import { SMALL_BYTES } from './storage/port.ts';
import { createTicketAccess } from './tickets/access.ts';
import { createDetails } from './tickets/details.ts';
import { createPlaces } from './tickets/places.ts';
import { createDailyImages } from './tickets/quotas.ts';
import { ticketRoutes } from './tickets/routes.ts';
import { ticketTokenRoutes } from './tickets/token-routes.ts';
import { createBreaker } from './transfers/breaker.ts';
import { createFastPath } from './transfers/fast-path.ts';
import { createRecords } from './transfers/grouped-records.ts';
import { queueOf } from './transfers/job.ts';
import { enqueueTransfers } from './transfers/pgboss-sql.ts';
import { createSending } from './transfers/prepare.ts';
import { startQueue } from './transfers/queue.ts';
import { reclaimAlone, reclaimBeside } from './transfers/reclaim.ts';
import { startRecovery } from './transfers/recovery.ts';
import { startWorkers, type Workers } from './transfers/worker.ts';
import { discardStaged, type FinishDeps } from './uploads/session/finish.ts';
import { createCommit } from './uploads/session/finish-abandoned.ts';
import { createOffsets } from './uploads/session/offsets.ts';
import { createWholes } from './uploads/session/one-shot.ts';
import { createTusServer } from './uploads/tus/dispatch.ts';
import { uploadRoutes } from './uploads/tus/routes.ts';
import { webRoutes } from './web/routes.ts';

/** A configuration in which it is settled where the database and the storage are. */
export type GatewayConfig = Config & { DATABASE_URL: string; STORAGE_URL: string };

/** A running gateway. `close` ends it within about 10 s and may be called twice. */
export type Gateway = {
  url: string;
  /** Where `/metrics` is, if it has a port of its own. */
  metricsUrl: string | null;
  /** Every route that is answered. */
  routes: readonly Route[];
  close(): Promise<void>;
};

/** How long running requests and transfers may go on once the gateway is told to stop, in milliseconds. */
const GRACE_MS = 4_000;
const LOCK_TIMEOUT_MS = 8_000;
/** Details, lists and snapshots that one token reads at once, and how many more of its requests wait. */
const READS_OF_A_TOKEN = { atOnce: 2, waiting: 100 };
/**
 * An upload without a byte keeps its room in staging for three times the silence that ends a request body, and for 5 minutes at
 * most: 3 minutes by default. A client whose body was ended after 60 s has 2 minutes to come back and go on in the same room.
 */
const ROOM_IDLES = 3;
const ROOM_IDLE_MS = 300_000;
const HOUR_MS = 3_600_000;

/**
 * Starts everything once, in the order in which it is needed, and hands it on as an argument. What was started is
 * closed again, last first, when the gateway closes or the start fails. No request is answered before `announce` has told
 * others where the gateway listens.
 */
export async function startGateway(
  config: GatewayConfig,
  log: Logger,
  reach: Reach = passBy,
  announce: (url: string) => Promise<void> = async () => {},
): Promise<Gateway> {
  await using starting = new AsyncDisposableStack();
  const parts = await openParts(config, log, reach, starting);
  const workers = await startTransfers(parts, starting);
  const { routes, area, endStreams } = await createRoutes(parts, starting);
  const headers = standingHeaders(config.PUBLIC_URL);
  const app = createApp(routes, {
    log,
    allowedOrigins: config.ALLOWED_ORIGINS,
    trustProxy: config.TRUST_PROXY,
    headers,
    area,
  });
  const requests = holdRequests(app.callback());
  const server = await listen(requests.listener, {
    host: config.HOST,
    port: config.PORT,
    idleMs: config.UPLOAD_IDLE_SECONDS * 1000,
    minBytesPerSecond: config.UPLOAD_MIN_BYTES_PER_SECOND,
    refusalHeaders: headers,
  });
  starting.defer(() => server.close(0));
  const metricsUrl = await serveMetrics(parts, starting);
  await announce(server.url);
  requests.release();
  log.info(
    { url: server.url, process: parts.peers.own, staging: config.STAGING_DIR, workers: config.TRANSFER_CONCURRENCY },
    'hopla is ready',
  );

  const started = starting.move();
  let closing: Promise<void> | undefined;
  const close = async () => {
    await Promise.all([endStreams(GRACE_MS), server.close(GRACE_MS), workers.close(GRACE_MS)]);
    await started.disposeAsync();
  };
  return {
    url: server.url,
    metricsUrl,
    routes: routesOf(routes),
    close() {
      closing ??= close();
      return closing;
    },
  };
}

type Parts = Awaited<ReturnType<typeof openParts>>;

/** What lives as long as the process, and knows nothing of requests yet. */
async function openParts(config: GatewayConfig, log: Logger, reach: Reach, starting: AsyncDisposableStack) {
  const db = connectDatabase(config.DATABASE_URL, { maxConnections: config.DATABASE_POOL_SIZE });
  starting.defer(() => db.destroy());
  const applied = await migrate(db);
  if (applied.length > 0) log.info({ migrations: applied.length }, 'database brought up to date');

  const directory = config.STAGING_DIR;
  const buffers = createBufferPool();
  const disk = startDiskThread({ directory, sniffs: sniffs(config.ACCEPTED_TYPES), buffers });
  starting.defer(() => disk.close());
  const staging = await openStaging({
    directory,
    unlink: disk.remove,
    budgetBytes: config.STAGING_BUDGET_BYTES,
    userBudgetBytes: config.MAX_BYTES_IN_FLIGHT,
    ticketBudgetBytes: config.MAX_TICKET_BYTES_IN_FLIGHT,
    maxImageBytes: config.MAX_IMAGE_BYTES,
    idleMs: Math.min(ROOM_IDLES * config.UPLOAD_IDLE_SECONDS * 1000, ROOM_IDLE_MS),
    freeBytes: config.STAGING_FREE_BYTES,
  });
  const peers = await joinPeers(directory, log);
  starting.defer(() => peers.close());
  // One more than there are workers, for the check that asks whether the storage is back.
  const maxSockets = Math.max(config.TRANSFER_CONCURRENCY, 1) + 1;
  const storage = openStorage(config, config.STORAGE_URL, maxSockets);
  starting.defer(() => storage.close());
  const store = await watchLimits(config, storage, log);
  starting.defer(() => store.close());
  const { limits } = store;

  const boss = await startQueue(db, config.DATABASE_URL, staging, log);
  starting.defer(() => boss.stop({ graceful: false, timeout: 2_000 }));
  const hub = await startHub(config.DATABASE_URL, db, log);
  starting.defer(() => hub.close());
  starting.defer(followStaging(hub, staging));

  const breaker = createBreaker(storage, log);
  starting.defer(() => breaker.close());
  const metrics = createMetrics({ db, staging, isPaused: () => breaker.paused });
  const fastPath = createFastPath();
  const offsets = createOffsets({ staging, hub, peers });
  starting.defer(() => offsets.close());
  const intake = createIntake({
    acceptedTypes: config.ACCEPTED_TYPES,
    limits,
    disk,
    buffers,
    staging,
    offsets,
    wanted: fastPath.wants,
    log,
  });
  starting.defer(followUploads(hub, intake));
  const arrivals = createGroupedWrites({
    db,
    holder: peers.own,
    enqueue: enqueueTransfers,
    reserve: fastPath.reserve,
    countReceived: metrics.countReceived,
  });
  const finish: FinishDeps = { db, staging, intake, arrivals, log, reach };
  const locker = createLocker(LOCK_TIMEOUT_MS);
  const ownHolders = createHolders({ db, staging, intake, peers, locker, timeoutMs: LOCK_TIMEOUT_MS, log });
  const holders = { ...ownHolders, locker: metrics.timeLocks(ownHolders.locker) };
  starting.defer(() => holders.close());
  const dailyImages = createDailyImages(db, config.MAX_IMAGES_PER_DAY);
  const creation = { ...finish, holders, dailyImages, limits };
  const wholes = createWholes({ ...creation, peers });
  starting.defer(() => wholes.close());
  peers.onAsked(async (imageId, to) => {
    await wholes.settle(imageId);
    await holders.handOver(imageId, to);
  });
  const quarantine = metrics.countQuarantined(
    createQuarantine(
      staging.directory,
      config.QUARANTINE_HOURS === undefined ? undefined : config.QUARANTINE_HOURS * HOUR_MS,
    ),
  );
  const base = { config, log, reach, db, staging, storage, boss, hub, breaker, metrics, disk, fastPath };
  return { ...base, store, offsets, finish, creation, wholes, quarantine, peers, holders };
}

/** Puts right what an earlier process left, and sends off what waits. */
async function startTransfers(parts: Parts, starting: AsyncDisposableStack): Promise<Workers> {
  const { config, log, reach, db, staging, storage, boss, hub, breaker, metrics, finish, peers, holders } = parts;
  const { wholes, quarantine, disk, fastPath } = parts;
  const sends = config.TRANSFER_CONCURRENCY > 0;
  const reclaimed = sends && (await reclaimAlone({ db, peers, stagingId: staging.id, log }));
  const recovery = await startRecovery({
    db,
    boss,
    staging,
    isElsewhere: holders.isElsewhere,
    commitUpload: createCommit(finish, holders.locker),
    isComing: wholes.isComing,
    quarantine,
    discardStaged: (image) => discardStaged(finish, image),
    log,
  });
  starting.defer(() => recovery.close());
  const transfer = {
    db,
    boss,
    records: createRecords(db),
    staging,
    prepare: metrics.measure(createSending(storage, staging, (imageId) => disk.check(imageId, SMALL_BYTES))),
    storage,
    countStored: metrics.countStored,
    breaker,
    reportProgress: hub.report,
    giveBack: quarantine.giveBack,
    maxAttempts: config.TRANSFER_ATTEMPTS,
    reach,
    log,
  };
  const workers = startWorkers(transfer, config.TRANSFER_CONCURRENCY);
  starting.defer(() => workers.close(0));
  fastPath.attach(workers);
  starting.defer(
    hub.watch({
      onImage({ imageId, staging: area, status }) {
        if (area === staging.id && status === 'received' && !fastPath.has(imageId)) workers.wake();
      },
      onProgress() {},
      onResync: workers.wake,
    }),
  );
  if (sends) {
    const deps = { db, peers, stagingId: staging.id, wake: workers.wake, log };
    const reclaim = reclaimBeside(deps, { now: !reclaimed });
    starting.defer(() => reclaim.close());
  }
  return workers;
}

/** Everything that answers requests; uploads come first, since nothing may touch their bodies before they do. */
async function createRoutes(parts: Parts, starting: AsyncDisposableStack) {
  const { config, log, reach, db, staging, storage, boss, hub, breaker, metrics, creation, wholes, offsets } = parts;
  const callers = createCallers(db);
  const authenticate = createAuthentication(callers);
  const creations = createRateLimit(config.MAX_CREATIONS_PER_MINUTE, 'creations');
  const passwordChecks = createPasswordChecks(config.LOGIN_FAILURES_PER_MINUTE);
  const baseUrlOf = (ctx: { protocol: string; host: string }) => config.PUBLIC_URL ?? `${ctx.protocol}://${ctx.host}`;
  const details = createDetails(db, offsets.of);
  const limitReads = createConcurrencyLimit(READS_OF_A_TOKEN);
  const checks = createChecks(parts);

  const tokens = createTokenWatch(db, log);
  starting.defer(() => tokens.close());
  const tus = createTusServer({
    ...creation,
    ...{ wholes, creations, tokens, places: createPlaces(), reportProgress: hub.report },
  });
  const ticketAccess = createTicketAccess(db);
  const uploads = uploadRoutes({ authenticate, ticketAccess, tus, baseUrlOf, reach });
  const events = progressRoutes({
    ...{ db, hub, authenticate, baseUrlOf, details, offsetOf: offsets.of, log },
    limits: { perToken: config.MAX_STREAMS_PER_TOKEN, perUser: config.MAX_STREAMS_PER_USER },
  });
  starting.defer(() => events.close(0));
  const panel = await panelRoutes({
    db,
    boss,
    staging,
    storage,
    callers,
    checks,
    isPaused: () => breaker.paused,
    limitWarnings: parts.store.warnings,
    publicUrl: config.PUBLIC_URL,
    passwordChecks,
    imageOrigins: storage.imageOrigins,
  });
  const routers = [
    identityRoutes({ db, callers, authenticate, sessionHours: config.SESSION_HOURS, passwordChecks }),
    events.router,
    ticketRoutes({
      db,
      authenticate,
      creations,
      maxOpenTickets: config.MAX_OPEN_TICKETS,
      baseUrlOf,
      details,
      limitReads,
    }),
    ticketTokenRoutes({ db, callers, authenticate }),
    openApiRoutes(packageJson.version),
    docsRoutes(),
    ...(config.METRICS_PORT === undefined
      ? [metricsRoutes({ scrape: metrics.scrape, token: config.METRICS_TOKEN, ownPort: false })]
      : []),
    healthRoutes(checks),
    panel.router,
    await webRoutes({
      imageOrigins: storage.imageOrigins,
      publicUrl: config.PUBLIC_URL,
      limits: creation.limits,
      acceptedTypes: config.ACCEPTED_TYPES,
    }),
  ];
  const routes = [metrics.timeRequests, ...uploads, ...routers.map((router) => router.routes())] as Middleware<State>[];
  return { routes, area: panel.area, endStreams: events.close };
}

/** Listens for scrapes alone, where a port is set for them. */
async function serveMetrics({ config, log, metrics }: Parts, starting: AsyncDisposableStack): Promise<string | null> {
  if (config.METRICS_PORT === undefined) return null;
  const router = metricsRoutes({ scrape: metrics.scrape, token: config.METRICS_TOKEN, ownPort: true });
  const app = createApp([router.routes() as Middleware<State>], { log, allowedOrigins: [], trustProxy: false });
  const idleMs = config.UPLOAD_IDLE_SECONDS * 1000;
  const server = await listen(app.callback(), { host: config.HOST, port: config.METRICS_PORT, idleMs });
  starting.defer(() => server.close(0));
  log.info({ url: `${server.url}/metrics` }, 'metrics have a port of their own');
  return server.url;
}

/** What `/readyz` and the panel look at. */
function createChecks({ db, staging, storage, boss, breaker }: Parts) {
  const checkStorage = remember((signal) => storage.check(signal));
  return {
    database: () => db.raw('SELECT 1'),
    staging: () => access(staging.directory, constants.R_OK | constants.W_OK),
    storage: (signal: AbortSignal) =>
      breaker.paused ? Promise.reject(new Error('transfers are paused')) : checkStorage(signal),
    queue: () => boss.getQueue(queueOf(staging.id)),
  };
}

/** Uploads are cancelled, deleted or out of time by other ways than their own requests. */
function followUploads(hub: Hub, intake: Intake): () => void {
  return hub.watch({
    onImage({ imageId, status }) {
      if (status !== 'uploading') intake.doubt(imageId);
    },
    onProgress() {},
    onResync: () => intake.doubt(),
  });
}

/** Keeps the count of what waits in staging right when another process takes images in or sends them off. */
function followStaging(hub: Hub, staging: Staging): () => void {
  return hub.watch({
    onImage({ imageId, userId, ticketId, staging: area, status, size }) {
      if (area !== staging.id) return;
      if (!isStaged(status)) staging.release(imageId);
      else if (status === 'uploading') staging.trackUpload(imageId, { size, position: 0 }, { userId, ticketId });
      else staging.track(imageId, size ?? 0, { userId, ticketId });
      // An admin on another machine, who cannot reach the file, deletes the ticket and with it the row that names the file.
      if (status === 'cancelled') staging.remove(imageId).catch(() => {});
    },
    onProgress({ imageId, leg, bytes, total }) {
      if (leg === 'upload') staging.reached(imageId, { size: total, position: bytes });
    },
    // Recovery counts again what waits.
    onResync() {},
  });
}
