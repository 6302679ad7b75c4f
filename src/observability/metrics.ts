import type { Locker } from '@tus/server';
import type { Middleware } from 'koa';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Database } from '../database/connection.ts';
import type { Image } from '../database/models.ts';
import type { State } from '../http/app.ts';
import { type ErrorCode, HoplaError } from '../model/errors.ts';
import { owedStatuses } from '../model/states.ts';
import type { Staging } from '../staging/local/folder.ts';
import type { Quarantine } from '../staging/local/quarantine.ts';
import { answerClassOf } from '../storage/answer-class.ts';
import type { PrepareSending } from '../transfers/prepare.ts';

/** What this process did, and what waits in its staging area; http/metrics.ts serves it in Prometheus' text format. */
export type Metrics = {
  /** Counts an image as received; call it once that is committed. */
  countReceived(bytes: number): void;
  /** Counts what the storage answers, and how long it takes. */
  measure(prepare: PrepareSending): PrepareSending;
  /** Counts an image as stored; call it once that is committed. */
  countStored(image: Image): void;
  /** Times how long requests wait for an upload that another request holds. */
  timeLocks(locker: Locker): Locker;
  /** Times every answer; goes before the routes. */
  timeRequests: Middleware<State>;
  /** Counts files that go into quarantine. */
  countQuarantined(quarantine: Quarantine): Quarantine;
  /** The text that Prometheus reads, shared by all who ask within a second. */
  scrape(): Promise<{ contentType: string; text: string }>;
};

export type MetricsDeps = { db: Database; staging: Staging; isPaused: () => boolean };

/** Seconds that one image takes to the storage: from a small one nearby to a large one over a slow line. */
const TRANSFER_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

/**
 * How often the delay of the event loop is sampled: every 10 ms, the default, is most of what an idle process does. Node
 * counts the interval itself as delay, so that its quantiles begin at this.
 */
const LAG_PRECISION_MS = 100;

/** Seconds from the receipt of an image to that of the storage: at once, or after an outage. */
const DELIVERY_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200];

/** Seconds that a request waits for an upload: most not at all, and none longer than until it is told 423. */
const LOCK_SECONDS = [0.001, 0.01, 0.1, 1, 5, 10];

/** A look at the backlog reads a row for each image that waits; whoever asks more often gets the same again. */
const BACKLOG_MS = 5_000;
/** The text of a scrape takes milliseconds to write; a flood of scrapes reads one text. */
const SCRAPE_MS = 1_000;

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
  const answers = new Counter({
    name: 'hopla_storage_answers_total',
    help: 'What the storage answered to images that were sent, by what it means; silence is no answer, or half of one',
    labelNames: ['class'],
    registers,
  });
  const deliveries = new Histogram({
    name: 'hopla_delivery_seconds',
    help: 'Time from the receipt of an image to its being stored, every try and pause included',
    buckets: DELIVERY_SECONDS,
    registers,
  });
  const locks = new Histogram({
    name: 'hopla_upload_lock_seconds',
    help: 'Time that a request waited until no other held its upload, by its outcome: taken, or given up',
    labelNames: ['outcome'],
    buckets: LOCK_SECONDS,
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

  const failed = new Gauge({
    name: 'hopla_images_failed',
    help: 'Received images of this staging area that failed, and are kept until an admin retries or deletes them',
    labelNames: ['code'],
    registers,
  });

  const lookAtBacklog = sharedFor(BACKLOG_MS, () => readBacklog(db, staging.id));

  const scrape = sharedFor(SCRAPE_MS, async () => {
    const backlog = await lookAtBacklog();
    waiting.set(backlog.images);
    oldest.set(backlog.seconds);
    for (const code of failureCodes) failed.set({ code }, backlog.failed[code] ?? 0);
    return { contentType: registry.contentType, text: await registry.metrics() };
  });

  return {
    scrape,
    countReceived(bytes) {
      received.inc();
      receivedBytes.inc(bytes);
    },
    measure: (prepare) => (image, content) => {
      const { ready, send } = prepare(image, content);
      return {
        ready,
        async send(options) {
          const end = transfers.startTimer();
          try {
            const receipt = await send(options);
            end({ outcome: 'stored' });
            answers.inc({ class: 'success' });
            storedBytes.inc(receipt.bytes);
            return receipt;
          } catch (error) {
            end({ outcome: error instanceof HoplaError ? error.code : 'interrupted' });
            const answer = answerClassOf(error);
            if (answer) answers.inc({ class: answer });
            throw error;
          }
        },
      };
    },
    countStored({ receivedAt, storedAt }) {
      if (!receivedAt || !storedAt) return;
      // Two clocks: the database's and ours.
      deliveries.observe(Math.max(0, storedAt.getTime() - receivedAt.getTime()) / 1000);
    },
    timeLocks: (locker) => ({
      newLock(id) {
        const lock = locker.newLock(id);
        return {
          async lock(signal, cancel) {
            const end = locks.startTimer();
            try {
              await lock.lock(signal, cancel);
              end({ outcome: 'taken' });
            } catch (error) {
              end({ outcome: 'given up' });
              throw error;
            }
          },
          unlock: () => lock.unlock(),
        };
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

/** Runs `read` once for all who ask while it runs, and for `ms` after it; a failure is not kept. */
function sharedFor<Value>(ms: number, read: () => Promise<Value>): () => Promise<Value> {
  let kept: { value: Promise<Value>; until: number } | null = null;
  return () => {
    if (kept && performance.now() < kept.until) return kept.value;
    const own = { value: read(), until: Number.POSITIVE_INFINITY };
    const settle = (until: number) => {
      own.until = until;
    };
    own.value.then(
      () => settle(performance.now() + ms),
      () => settle(Number.NEGATIVE_INFINITY),
    );
    kept = own;
    return own.value;
  };
}

/** By the index over what a staging area still has: no more rows than wait. */
export function backlogOf(db: Database, stagingId: string) {
  return db('images')
    .where({ staging: stagingId })
    .whereIn('status', [...owedStatuses])
    .select(
      db.raw('count(*)::int AS images, coalesce(extract(epoch FROM now() - min(received_at)), 0)::float AS seconds'),
    );
}

/** What an image can have failed with. */
const failureCodes = [
  'storage-refused',
  'storage-unavailable',
  'storage-mismatch',
  'staged-file-lost',
] as const satisfies ErrorCode[];

type Backlog = { images: number; seconds: number; failed: Record<string, number> };

async function readBacklog(db: Database, stagingId: string): Promise<Backlog> {
  const byCode = db('images')
    .where({ staging: stagingId, status: 'failed' })
    .groupBy('error_code')
    .select('error_code', db.raw('count(*)::int AS images'));
  const [[row], failed] = await Promise.all([backlogOf(db, stagingId), byCode]);
  return { ...row, failed: Object.fromEntries(failed.map(({ error_code, images }) => [error_code, images])) };
}
