import Router from '@koa/router';
import type { Middleware } from 'koa';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Database } from './database/connection.ts';
import { owedStatuses } from './database/states.ts';
import { HoplaError } from './errors.ts';
import type { State } from './http/app.ts';
import type { Storage } from './storage/port.ts';
import type { Quarantine } from './uploads/quarantine.ts';
import type { Staging } from './uploads/staging.ts';

/** What this process did, and what waits in its staging area; `GET /metrics` tells it in Prometheus' text format. */
export type Metrics = {
  /** Counts an image as received; call it once that is committed. */
  countReceived(bytes: number): void;
  /** Counts what the storage answers, and how long it takes. */
  measure(storage: Storage): Storage;
  /** Times every answer; goes before the routes. */
  timeRequests: Middleware<State>;
  /** Counts files that go into quarantine. */
  countQuarantined(quarantine: Quarantine): Quarantine;
  router: Router<State>;
};

export type MetricsDeps = { db: Database; staging: Staging; isPaused: () => boolean };

/** Seconds that one image takes to the storage: from a small one nearby to a large one over a slow line. */
const TRANSFER_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/**
 * How often the delay of the event loop is sampled: every 10 ms, the default, is most of what an idle process does. Node
 * counts the interval itself as delay, so that its quantiles begin at this.
 */
const LAG_PRECISION_MS = 100;

/** Seconds from the headers of a request to its answer; that of an upload waits for the client's bytes. */
const REQUEST_SECONDS = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60];

export function createMetrics({ db, staging, isPaused }: MetricsDeps): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LAG_PRECISION_MS });

  const received = new Counter({ name: 'hopla_images_received_total', help: 'Images durably received', registers });
  const receivedBytes = new Counter({ name: 'hopla_received_bytes_total', help: 'Bytes of them', registers });
  const storedBytes = new Counter({ name: 'hopla_stored_bytes_total', help: 'Bytes the storage confirmed', registers });
  const transfers = new Histogram({
    name: 'hopla_transfer_seconds',
    help: 'Time of one try to store an image, by its outcome: stored, or an error code',
    labelNames: ['outcome'],
    buckets: TRANSFER_SECONDS,
    registers,
  });
  const quarantined = new Counter({
    name: 'hopla_quarantined_files_total',
    help: 'Staged files of no known image, put aside',
    registers,
  });
  new Gauge({
    name: 'hopla_staging_bytes',
    help: 'Bytes set aside in the staging area',
    registers,
    collect() {
      this.set(staging.usage().reservedBytes);
    },
  });
  new Gauge({ name: 'hopla_staging_budget_bytes', help: 'Bytes that may be set aside', registers }).set(
    staging.usage().budgetBytes,
  );
  new Gauge({
    name: 'hopla_transfers_paused',
    help: '1 while nothing is sent because the storage is away or refuses our account',
    registers,
    collect() {
      this.set(isPaused() ? 1 : 0);
    },
  });
  const requests = new Histogram({
    name: 'hopla_request_seconds',
    help: 'Time from the headers of a request to its answer',
    labelNames: ['kind', 'method', 'status'],
    buckets: REQUEST_SECONDS,
    registers,
  });
  new Gauge({
    name: 'hopla_database_connections',
    help: 'Connections of the pool that are used or free, and requests that wait for one',
    labelNames: ['state'],
    registers,
    collect() {
      const { pool } = db.client;
      this.set({ state: 'used' }, pool.numUsed());
      this.set({ state: 'free' }, pool.numFree());
      this.set({ state: 'waiting' }, pool.numPendingAcquires());
    },
  });
  const waiting = new Gauge({
    name: 'hopla_transfers_waiting',
    help: 'Received images of this staging area that are not stored yet',
    registers,
  });
  const oldest = new Gauge({ name: 'hopla_oldest_waiting_seconds', help: 'Age of the oldest of them', registers });

  const router = new Router<State>();
  router.get('/metrics', async (ctx) => {
    const backlog = await readBacklog(db, staging.id);
    waiting.set(backlog.images);
    oldest.set(backlog.seconds);
    ctx.type = registry.contentType;
    ctx.set('Cache-Control', 'no-store');
    ctx.body = await registry.metrics();
  });

  return {
    countReceived(bytes) {
      received.inc();
      receivedBytes.inc(bytes);
    },
    measure: (storage) => ({
      ...storage,
      async put(image, options) {
        const end = transfers.startTimer();
        try {
          const receipt = await storage.put(image, options);
          end({ outcome: 'stored' });
          storedBytes.inc(image.bytes);
          return receipt;
        } catch (error) {
          end({ outcome: error instanceof HoplaError ? error.code : 'interrupted' });
          throw error;
        }
      },
    }),
    countQuarantined: (quarantine) => ({
      ...quarantine,
      async take(imageId) {
        const bytes = await quarantine.take(imageId);
        if (bytes !== null) quarantined.inc();
        return bytes;
      },
    }),
    timeRequests: async (ctx, next) => {
      const started = performance.now();
      const observe = (status: number) =>
        requests.observe(labelsOf(ctx.method, ctx.path, status), (performance.now() - started) / 1000);
      try {
        await next();
        observe(ctx.status);
      } catch (error) {
        observe(error instanceof HoplaError ? error.status : 500);
        throw error;
      }
    },
    router,
  };
}

const METHODS = ['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'];

/** Few values each, whatever clients send: 423 and 507 are told apart, as somebody has to act on them. */
function labelsOf(method: string, path: string | null, status: number) {
  // Koa finds none in `GET http://`.
  const known = path ?? '';
  const kind = /^\/v1\/tickets\/[^/]+\/uploads/.test(known) ? 'upload' : known.startsWith('/v1/') ? 'api' : 'page';
  return {
    kind,
    method: METHODS.includes(method) ? method : 'other',
    status: status === 423 || status === 507 ? `${status}` : `${Math.floor(status / 100)}xx`,
  };
}

/** By the index over what a staging area still has: no more rows than wait. */
async function readBacklog(db: Database, stagingId: string): Promise<{ images: number; seconds: number }> {
  const row = await db('images')
    .where({ staging: stagingId })
    .whereIn('status', [...owedStatuses])
    .select(
      db.raw('count(*)::int AS images, coalesce(extract(epoch FROM now() - min(received_at)), 0)::float AS seconds'),
    )
    .first();
  return row as { images: number; seconds: number };
}
