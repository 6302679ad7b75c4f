/** Lets so many transfers send at once; the others wait in line, having done before whatever they can. */
export type Turns = {
  /** Resolves when it is one's turn, to what ends it. Rejects with the signal's reason, or that of `close`, before. */
  take: TakeTurn;
  /** How many transfers should be under way at most that have not sent yet, so that no turn stands idle. */
  wanted(): number;
  /** Sends away all who wait, and all who come. Who sends goes on. */
  close(reason: Error): void;
};
/** What ends a turn says whether others go on. */
export type TakeTurn = (signal: AbortSignal) => Promise<() => boolean>;

/**
 * How far ahead transfers are begun, in milliseconds: for so long turns go to what is here while the next are fetched. Of
 * what takes seconds to send nothing is begun that would wait for them.
 */
const AHEAD_MS = 50;
const MOST_AHEAD = 32;

/** @param concurrency how many send at once */
export function createTurns(concurrency: number): Turns {
  const waiting = new Set<PromiseWithResolvers<void>>();
  let sending = 0;
  /** What one image takes of late. Nothing is begun ahead before one was sent. */
  let sendMs = Number.POSITIVE_INFINITY;
  let closed: Error | undefined;

  const enter = async (signal: AbortSignal): Promise<void> => {
    if (closed) throw closed;
    signal.throwIfAborted();
    if (sending < concurrency) return void sending++;
    const place = Promise.withResolvers<void>();
    const goAway = () => {
      // At once: a turn given to somebody who left would be lost.
      waiting.delete(place);
      place.reject(signal.reason);
    };
    waiting.add(place);
    signal.addEventListener('abort', goAway, { once: true });
    return place.promise.finally(() => signal.removeEventListener('abort', goAway));
  };
  const leave = () => {
    const [next] = waiting;
    if (!next) return void sending--;
    // The turn is the next one's now.
    waiting.delete(next);
    next.resolve();
  };

  return {
    async take(signal) {
      await enter(signal);
      const began = performance.now();
      return () => {
        const ms = performance.now() - began;
        sendMs = Number.isFinite(sendMs) ? 0.9 * sendMs + 0.1 * ms : ms;
        leave();
        return sending > 0;
      };
    },
    wanted: () => concurrency + Math.min(MOST_AHEAD, Math.floor((concurrency * AHEAD_MS) / sendMs)),
    close(reason) {
      closed = reason;
      for (const place of waiting) place.reject(reason);
      waiting.clear();
    },
  };
}
