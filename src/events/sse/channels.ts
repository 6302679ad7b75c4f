import type { Database } from '../../database/connection.ts';
import { Ticket } from '../../database/models.ts';
import type { Piece } from '../../http/detached-socket.ts';
import type { Details, WrittenDetail } from '../../tickets/details.ts';
import type { OffsetOf } from '../../tickets/view.ts';
import type { Hub, Listener, Topic } from '../types.ts';
import { type EventStream, toPieceOfJson } from './event-stream.ts';
import { TicketChannel } from './ticket-channel.ts';
import { UserChannel } from './user-channel.ts';

/** The channels that somebody listens to. Whoever took one releases it when its stream is over, or did not begin. */
export type Channels = {
  ofTicket(ticketId: string): TicketChannel;
  ofUser(userId: string): UserChannel;
  release(channel: Channel, stream?: EventStream | null): void;
};
export type Channel = TicketChannel | UserChannel;

/** Tickets whose versions one statement asks for. */
const VERSIONS_AT_ONCE = 1_000;

export type ChannelsDeps = {
  db: Database;
  hub: Hub;
  details: Details;
  offsetOf: OffsetOf;
  onError: (error: unknown) => void;
};

export function createChannels({ db, hub, details, offsetOf, onError }: ChannelsDeps): Channels {
  const versionOf = createVersionReader(db);
  /** Kept as long as what they are made of: a listener that comes and goes, again and again, costs little. */
  const snapshots = new WeakMap<WrittenDetail, Piece>();
  const opened = new Map<string, Channel>();
  const closings = new Map<Channel, () => void>();
  const deps = {
    async read(ticketId: string) {
      if (!details.has(ticketId)) return details.read(ticketId, 0);
      const version = await versionOf(ticketId);
      return version === null ? null : details.read(ticketId, version);
    },
    versionOf,
    toSnapshot(written: WrittenDetail, version: number) {
      const piece = snapshots.get(written) ?? toPieceOfJson('snapshot', written.json, version);
      snapshots.set(written, piece);
      return piece;
    },
    offsetOf,
    onError,
  };

  const take = <C extends Channel>(key: string, topic: Topic, create: () => C & Listener): C => {
    const known = opened.get(key);
    if (known) return known as C;
    const channel = create();
    const unsubscribe = hub.subscribe(topic, channel);
    opened.set(key, channel);
    closings.set(channel, () => {
      unsubscribe();
      opened.delete(key);
      closings.delete(channel);
    });
    return channel;
  };

  return {
    ofTicket: (ticketId) => take(`ticket:${ticketId}`, { ticketId }, () => new TicketChannel(ticketId, deps)),
    ofUser: (userId) => take(`user:${userId}`, { userId }, () => new UserChannel(deps)),
    release(channel, stream) {
      if (stream) channel.leave(stream);
      if (channel.isEmpty) closings.get(channel)?.();
    },
  };
}

/** After the connection that listens was lost, ten thousand channels ask at once: one statement answers a thousand of them. */
function createVersionReader(db: Database): (ticketId: string) => Promise<number | null> {
  let asked = new Map<string, PromiseWithResolvers<number | null>>();
  const answer = async (questions: Map<string, PromiseWithResolvers<number | null>>) => {
    try {
      const ids = [...questions.keys()];
      const versions = new Map<string, number>();
      for (let start = 0; start < ids.length; start += VERSIONS_AT_ONCE) {
        const found = await Ticket.query(db)
          .select('id', 'version')
          .whereRaw('id = ANY (?)', [ids.slice(start, start + VERSIONS_AT_ONCE)] as never);
        for (const { id, version } of found) versions.set(id, version);
      }
      for (const [id, { resolve }] of questions) resolve(versions.get(id) ?? null);
    } catch (error) {
      for (const { reject } of questions.values()) reject(error);
    }
  };
  return (ticketId) => {
    if (asked.size === 0) {
      setImmediate(() => {
        const questions = asked;
        asked = new Map();
        void answer(questions);
      });
    }
    const question = asked.get(ticketId) ?? Promise.withResolvers<number | null>();
    asked.set(ticketId, question);
    return question.promise;
  };
}
