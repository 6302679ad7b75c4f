import type { OffsetOf } from '../../tickets/view.ts';
import type { Announcement, Listener, Progress } from '../types.ts';
import type { EventStream } from './event-stream.ts';
import { perBaseUrl, toChangePiece, toProgressPiece } from './frames.ts';
import { Turns } from './serial-queue.ts';

/** Shows every change of any ticket of one user to all who listen to that. */
export class UserChannel implements Listener {
  /** By stream: the base of the URLs it is shown. */
  readonly #members = new Map<EventStream, string>();
  readonly #offsetOf: OffsetOf;
  readonly #turns: Turns;

  constructor({ offsetOf, onError }: { offsetOf: OffsetOf; onError: (error: unknown) => void }) {
    this.#offsetOf = offsetOf;
    this.#turns = new Turns((error) => {
      onError(error);
      this.onResync();
    });
  }

  get isEmpty(): boolean {
    return this.#members.size === 0;
  }

  join(stream: EventStream, baseUrl: string): void {
    this.#members.set(stream, baseUrl);
  }

  leave(stream: EventStream): void {
    this.#members.delete(stream);
  }

  onChange(change: Announcement): void {
    this.#turns.take(async () => {
      const render = perBaseUrl((baseUrl) => toChangePiece(change, baseUrl, this.#offsetOf));
      for (const [stream, baseUrl] of this.#members) stream.send(await render(baseUrl));
    });
  }

  onProgress(progress: Progress): void {
    this.#turns.take(async () => {
      const piece = toProgressPiece(progress);
      for (const stream of this.#members.keys()) stream.sendIfKeepingUp(piece);
    });
  }

  /** Without a snapshot there is nothing to catch up with: the listener reads its list again when it reconnects. */
  onResync(): void {
    for (const stream of this.#members.keys()) stream.end();
  }
}
