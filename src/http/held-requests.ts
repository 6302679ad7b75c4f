import type { RequestListener } from 'node:http';

/** A listener that keeps requests waiting until `release` is called: the port is known by then, and what it is told to. */
export function holdRequests(listener: RequestListener): { listener: RequestListener; release(): void } {
  let held: (() => void)[] | null = [];
  return {
    listener(request, response) {
      if (held === null) listener(request, response);
      else held.push(() => listener(request, response));
    },
    release() {
      const waiting = held ?? [];
      held = null;
      for (const answer of waiting) answer();
    },
  };
}
