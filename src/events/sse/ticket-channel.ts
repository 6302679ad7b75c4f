import type { Ticket } from '../../database/models.ts';
import type { Piece } from '../../http/detached-socket.ts';
import { isTerminal } from '../../model/states.ts';
import type { Detail, WrittenDetail } from '../../tickets/details.ts';
import type { OffsetOf } from '../../tickets/view.ts';
import type { Announcement, Listener, Progress } from '../types.ts';
import { type EventStream, toPieceOf } from './event-stream.ts';
import { perBaseUrl, toChangePiece, toProgressPiece } from './frames.ts';
import { Turns } from './serial-queue.ts';

export type TicketChannelDeps = {
  /** The ticket as it is now; null when there is none. */
  read: (ticketId: string) => Promise<Detail | null>;
  /** Its version now; null when there is none. */
  versionOf: (ticketId: string) => Promise<number | null>;
  /** What a stream begins with. */
  toSnapshot: (written: WrittenDetail, version: number) => Piece;
  offsetOf: OffsetOf;
  onError: (error: unknown) => void;
};

/** Who wants to listen. `open` begins the stream, or throws for who may not; null when the listener left meanwhile. */
export type Joiner = {
  /** No slash at its end. */
  baseUrl: string;
  /** The version that the listener says it has. */
  known: number | null;
  open: (ticket: Ticket | null) => EventStream | null;
};

type Member = { stream: EventStream; baseUrl: string; version: number | null };
type Joining = Joiner & { done: PromiseWithResolvers<void> };

/**
 * Shows one ticket to all who listen to it: to each a snapshot, and then every change that is newer.
 *
 * The channel listens to announcements before any snapshot is read, and works on them in turn with the reading; so
 * nothing falls between the two. A thousand who come at once are served by two reads.
 */
export class TicketChannel implements Listener {
  readonly #ticketId: string;
  readonly #deps: TicketChannelDeps;
  readonly #members = new Map<EventStream, Member>();
  readonly #turns: Turns;
  #joining: Joining[] = [];

  constructor(ticketId: string, deps: TicketChannelDeps) {
    this.#ticketId = ticketId;
    this.#deps = deps;
    // Whoever is cut off comes back to the truth.
    this.#turns = new Turns((error) => {
      deps.onError(error);
      for (const stream of this.#members.keys()) stream.end();
    });
  }

  get isEmpty(): boolean {
    return this.#members.size === 0 && this.#joining.length === 0;
  }

  /** Resolves when the stream has begun; rejects with what the reading or `open` threw. */
  join(joiner: Joiner): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#joining.push({ ...joiner, done });
    if (this.#joining.length === 1) this.#turns.take(() => this.#admit());
    return done.promise;
  }

  leave(stream: EventStream): void {
    this.#members.delete(stream);
  }

  onChange(change: Announcement): void {
    this.#turns.take(async () => {
      const { ticket } = change;
      const render = perBaseUrl((baseUrl) => toChangePiece(change, baseUrl, this.#deps.offsetOf));
      for (const member of this.#members.values()) {
        if (member.version !== null && member.version >= ticket.version) continue;
        this.#show(member, ticket, await render(member.baseUrl));
      }
    });
  }

  onProgress(progress: Progress): void {
    this.#turns.take(async () => {
      const piece = toProgressPiece(progress);
      for (const stream of this.#members.keys()) stream.sendIfKeepingUp(piece);
    });
  }

  onResync(): void {
    this.#turns.take(async () => {
      const version = await this.#deps.versionOf(this.#ticketId);
      const late = [...this.#members.values()].filter((member) => member.version !== version);
      if (late.length === 0) return;
      const state = await this.#deps.read(this.#ticketId);
      if (!state) throw new Error('the ticket is gone');
      const render = this.#snapshotOf(state);
      for (const member of late) this.#show(member, state.ticket, await render(member.baseUrl));
    });
  }

  async #admit(): Promise<void> {
    // Taken before the reading begins: who comes later may know of more than it finds.
    const joining = this.#joining;
    this.#joining = [];
    try {
      const state = await this.#deps.read(this.#ticketId);
      const render = state && this.#snapshotOf(state);
      for (const joiner of joining) {
        const { baseUrl, known } = joiner;
        const snapshot = render && known !== state.ticket.version ? await render(baseUrl) : null;
        this.#begin(joiner, state?.ticket ?? null, snapshot);
      }
    } catch (error) {
      for (const { done } of joining) done.reject(error);
    }
  }

  #begin({ baseUrl, known, open, done }: Joining, ticket: Ticket | null, snapshot: Piece | null): void {
    try {
      const stream = open(ticket);
      if (stream && ticket) {
        const member = { stream, baseUrl, version: known };
        this.#members.set(stream, member);
        this.#show(member, ticket, snapshot);
      }
      done.resolve();
    } catch (error) {
      done.reject(error);
    }
  }

  #snapshotOf(detail: Detail): (baseUrl: string) => Promise<Piece> {
    return perBaseUrl(async (baseUrl) => {
      return this.#deps.toSnapshot(await detail.write(baseUrl), detail.ticket.version);
    });
  }

  #show(member: Member, ticket: Ticket, piece: Piece | null): void {
    const { stream } = member;
    if (piece) stream.send(piece);
    member.version = ticket.version;
    if (!isTerminal(ticket)) return;
    const { id: ticketId, status, version } = ticket;
    stream.send(toPieceOf({ event: 'end', data: { ticketId, status }, id: `${version}-end` }));
    stream.end();
    this.#members.delete(stream);
  }
}
