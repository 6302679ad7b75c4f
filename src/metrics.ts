import Router from '@koa/router';
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
  /** Counts files that go into quarantine. */
  countQuarantined(quarantine: Quarantine): Quarantine;
  router: Router<State>;
};

export type MetricsDeps = { db: Database; staging: Staging; isPaused: () => boolean };

/** Seconds that one image takes to the storage: from a small one nearby to a large one over a slow line. */
const TRANSFER_SECONDS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export function createMetrics({ db, staging, isPaused }: MetricsDeps): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

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
    router,
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
