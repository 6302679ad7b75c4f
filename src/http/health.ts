import type { State } from './app.ts';
import { createRouter, type Routes } from './router.ts';

/** Resolves when the part works, rejects when it does not. */
export type Check = (signal: AbortSignal) => Promise<unknown>;

const CHECK_MS = 3_000;
/** How long an answer of `remember` holds, in milliseconds. */
const OK_MS = 60_000;
const FAILED_MS = 2_000;

/** `GET /healthz`: 200 while the process lives. `GET /readyz`: 200, or 503 with what does not work. */
export function healthRoutes(checks: Record<'database' | 'staging' | 'storage' | 'queue', Check>): Routes<State> {
  const router = createRouter<State>();

  router.get('/healthz', (ctx) => {
    ctx.set('Cache-Control', 'no-store');
    ctx.body = { status: 'ok' };
  });

  let looking: ReturnType<typeof reportOf> | null = null;
  /** Anybody may ask, as often as they like: all who ask at once share one look at the parts. */
  const look = () => {
    looking ??= reportOf(checks).finally(() => {
      looking = null;
    });
    return looking;
  };

  router.get('/readyz', async (ctx) => {
    const report = await look();
    ctx.set('Cache-Control', 'no-store');
    ctx.status = Object.values(report).every((result) => result === 'ok') ? 200 : 503;
    ctx.body = { checks: report };
  });

  return router;
}

async function reportOf(checks: Record<string, Check>): Promise<Record<string, 'ok' | 'failed'>> {
  const results = Object.entries(checks).map(async ([name, check]) => [name, await outcome(check)] as const);
  return Object.fromEntries(await Promise.all(results));
}

async function outcome(check: Check): Promise<'ok' | 'failed'> {
  const signal = AbortSignal.timeout(CHECK_MS);
  const late = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    await Promise.race([check(signal), late]);
    return 'ok';
  } catch {
    return 'failed';
  }
}

/** For a check that costs: load balancers ask every few seconds, and a storage counts what it is asked. */
export function remember(check: Check): Check {
  let last: { until: number; result: Promise<unknown> } | null = null;
  return (signal) => {
    if (last && performance.now() < last.until) return last.result;
    const result = check(signal);
    const current = { until: performance.now() + OK_MS, result };
    last = current;
    result.catch(() => {
      current.until = performance.now() + FAILED_MS;
    });
    return result;
  };
}
