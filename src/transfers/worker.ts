import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { Image } from '../database/models.ts';
import type { ReceivedImage } from '../ledger/received-image.ts';
import { forgetEnded } from './ended.ts';
import { ClaimLost, handBack } from './failure.ts';
import { queueOf } from './job.ts';
import { type HeldClaim, holdClaims } from './leases.ts';
import { createTurns, type TakeTurn } from './send-slots.ts';
import { type TransferDeps, transferImage } from './transfer.ts';

export type Workers = {
  /** Looks into the queue now. */
  wake(): void;
  /** How many images could be sent at once, were they here. */
  room(): number;
  /** Begins with an image whose job is claimed as it is queued: keeps room for it, and makes it ready while that is committed. */
  expect(image: ReceivedImage): Expected;
  /** Stops taking jobs, gives running transfers `graceMs`, and hands the rest back to the queue. */
  close(graceMs: number): Promise<void>;
};

/** An image that is being received: one of these is to be called when it is known what became of that. */
export type Expected = {
  /** Sends it; resolves when that has ended, whichever way. */
  send(image: Image): Promise<void>;
  /** Nobody knows whether its job was committed: makes sure that it is nobody's. */
  handBack(): Promise<void>;
  /** There is no job. */
  drop(): void;
};

/** Who queues a transfer calls `wake`, in whichever process; looking now and then is for calls that were missed. */
const POLL_MS = 10_000;
/** Before a look, a transfer, or the attempt to hand one back is repeated that our database kept from its end. */
const REPEAT_MS = 1_000;
/** Timers may fire a little early, and the database must agree that it is time. */
const WAKE_MARGIN_MS = 10;
/** Transfers that were sent and wait for the database to record it. More than this at once are no gain (group-commit.ts). */
const MOST_UNRECORDED = 64;

/** Sends the queued images of the staging area, `concurrency` at once; none when that is 0. */
export function startWorkers(deps: Omit<TransferDeps, 'takeTurn'>, concurrency: number): Workers {
  const { boss, staging, breaker, log } = deps;
  const stopping = new AbortController();
  const ending = new Error('the process is stopping');
  const claims = holdClaims(deps.db, boss, queueOf(staging.id));
  const turns = createTurns(concurrency);
  const running = new Set<Promise<void>>();
  /** Those of the running that have not sent yet. */
  const unsent = new Set<HeldClaim>();
  /** Those that may soon be. */
  const expected = new Set<string>();
  const timers = new Set<NodeJS.Timeout>();
  let closing = concurrency === 0;

  const wakeAfter = (delayMs: number) => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      wake();
    }, delayMs + WAKE_MARGIN_MS);
    timers.add(timer);
  };

  /** Whether there may be jobs in the queue; false only after a look that found fewer than it would have taken. */
  let more = false;
  let looking: Promise<void> | null = null;
  const wake = () => {
    more = true;
    look();
  };
  /** To be called when there may be jobs, and when there is room for them. */
  const look = () => {
    if (more && !looking && roomFor() > 0) looking = fetchJobs();
  };
  const fetchJobs = async () => {
    try {
      for (let most = roomFor(); more && most > 0; most = roomFor()) {
        more = false;
        await breaker.pass(stopping.signal);
        const fetched = await claims.fetch(most);
        more ||= fetched.length === most;
        for (const claim of fetched) void start(claim);
      }
    } catch (error) {
      if (closing) return;
      log.warn({ err: error }, 'the queue cannot be read; it is tried again');
      wakeAfter(REPEAT_MS);
    } finally {
      looking = null;
    }
  };
  const roomFor = () => {
    if (closing || running.size - unsent.size > MOST_UNRECORDED) return 0;
    const wanted = turns.wanted();
    const ahead = unsent.size + expected.size;
    const room = wanted - ahead;
    // Many at a time, and before the last of them is sent.
    return ahead < concurrency || 2 * room > wanted ? room : 0;
  };

  const start = (claim: HeldClaim, run: (claim: HeldClaim) => Promise<void> = handle): Promise<void> => {
    unsent.add(claim);
    const ended = run(claim).finally(() => {
      unsent.delete(claim);
      running.delete(ended);
      claims.release(claim);
      look();
    });
    running.add(ended);
    return ended;
  };
  const handle = async (claim: HeldClaim) => {
    const takeTurn: TakeTurn = async (signal) => {
      const end = await turns.take(signal);
      return () => {
        const others = end();
        if (unsent.delete(claim)) look();
        return others;
      };
    };
    try {
      const end = await transferImage({ ...deps, takeTurn }, claim, claim.signal);
      if (end.state === 'waiting') wakeAfter(end.delayMs);
    } catch (error) {
      const told = error === ending || claim.lost || error instanceof ClaimLost;
      if (!told)
        log.warn({ imageId: claim.data.imageId, err: error }, 'a transfer could not be recorded; it will be repeated');
      // The repeat finds what this run achieved. As long as we wait for the database here the claim stays ours.
      await handBackSoon(claim, error === ending ? 0 : REPEAT_MS);
    }
  };

  const handBackSoon = async (claim: HeldClaim, delayMs: number) => {
    for (;;) {
      try {
        if (await tryHandBack(claim, delayMs)) wakeAfter(delayMs);
        return;
      } catch {
        // The next start, or whoever misses a sign of life, puts it back.
        if (stopping.signal.aborted) return;
        await delay(REPEAT_MS, undefined, { signal: stopping.signal }).catch(() => {});
      }
    }
  };
  /** False when the job is not ours: another worker has it by now, or it ended, and only the answer to that was lost. */
  const tryHandBack = async (claim: HeldClaim, delayMs: number): Promise<boolean> => {
    try {
      if (!claim.lost) {
        await handBack(deps, claim, delayMs);
        return true;
      }
    } catch (error) {
      if (!(error instanceof ClaimLost)) throw error;
    }
    await forgetEnded(deps, await Image.query(deps.db).findById(claim.data.imageId));
    return false;
  };

  const polling = setInterval(wake, POLL_MS);
  wake();

  return {
    wake,
    // While others wait in the queue it is their turn.
    room: () =>
      closing || more || looking || breaker.paused ? 0 : Math.max(0, concurrency - unsent.size - expected.size),
    expect({ imageId, ticketId, filename, facts, content }) {
      const sending = deps.prepare({ id: imageId, ticketId, filename, ...facts }, content);
      expected.add(imageId);
      const begin = (image: Image | null, run: (claim: HeldClaim) => Promise<void>) => {
        expected.delete(imageId);
        return start(claims.hold(imageId, image, sending), run);
      };
      return {
        send: (image) => begin(image, handle),
        handBack: () => begin(null, (claim) => handBackSoon(claim, 0)),
        drop() {
          expected.delete(imageId);
          look();
        },
      };
    },
    async close(graceMs) {
      closing = true;
      clearInterval(polling);
      turns.close(ending);
      const stop = () => {
        stopping.abort(ending);
        claims.stop(ending);
      };
      const grace = setTimeout(stop, graceMs);
      // Waiting for a storage that is away is nothing to be waited for.
      if (breaker.paused) stop();
      // A look that is under way may bring more.
      await Promise.race([looking, stopping.signal.aborted || once(stopping.signal, 'abort')]);
      await Promise.allSettled(running);
      clearTimeout(grace);
      claims.close();
      for (const timer of timers) clearTimeout(timer);
    },
  };
}
