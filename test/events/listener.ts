import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Json } from '../support/client.ts';

/** One event as it came; `id` is the version that its id begins with, null where it has none. */
export type Heard = { event: string; id: number | null; rawId: string | null; data: Json; at: number };

export type TestListener = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly events: readonly Heard[];
  /** How many comment lines came, and what `retry` said. */
  readonly comments: number;
  readonly retry: string | null;
  /** Resolves once the stream has ended, however. */
  readonly ended: Promise<void>;
  readonly open: boolean;
  named(event: string): Heard[];
  leave(): void;
};

/** Opens an event stream and keeps what comes. A status other than 200 is not judged. */
export async function listenTo(url: string, token: string, lastEventId?: string): Promise<TestListener> {
  const outgoing = request(url, {
    agent: new Agent(),
    headers: {
      Authorization: `Bearer ${token}`,
      ...(lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId }),
    },
  });
  outgoing.end();
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  // A stream that is cut says so here, and ends all the same.
  answer.on('error', () => {});
  outgoing.on('error', () => {});
  const heard: Heard[] = [];
  const state = { comments: 0, retry: null as string | null, open: true };
  let fields: Record<string, string> = {};
  const take = (line: string) => {
    const { name = '', value = '' } = /^(?<name>[^:]*)(?:: ?(?<value>.*))?$/.exec(line)?.groups ?? {};
    if (line !== '') {
      if (name === '') state.comments += 1;
      else if (name === 'retry') state.retry = value;
      else fields[name] = value;
      return;
    }
    const { event = 'message', id, data } = fields;
    fields = {};
    if (data === undefined) return;
    const version = id === undefined ? null : Number.parseInt(id, 10);
    heard.push({ event, id: version, rawId: id ?? null, data: JSON.parse(data), at: performance.now() });
  };
  let rest = '';
  answer.setEncoding('utf8').on('data', (piece: string) => {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    lines.forEach(take);
  });
  const ended = new Promise<void>((resolve) => answer.once('close', resolve)).then(() => {
    state.open = false;
  });
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    events: heard,
    get comments() {
      return state.comments;
    },
    get retry() {
      return state.retry;
    },
    ended,
    get open() {
      return state.open;
    },
    named: (event) => heard.filter((one) => one.event === event),
    leave: () => outgoing.destroy(),
  };
}

/** The detail of a ticket as a client knows it that saw nothing but these events. */
export function rebuild(events: readonly Heard[]): Json {
  let ticket: Json = null;
  const images = new Map<string, Json>();
  for (const { event, data } of events) {
    if (event === 'snapshot') {
      images.clear();
      for (const image of data.images) images.set(image.id, image);
      ticket = withoutImages(data);
    }
    if (event === 'ticket') ticket = withoutTicketId(data);
    if (event === 'image') images.set(data.id, withoutTicketId(data));
  }
  return { ...ticket, images: [...images.values()].sort((a, b) => (a.id < b.id ? -1 : 1)) };
}

function withoutImages({ images, ...ticket }: Json): Json {
  return ticket;
}

function withoutTicketId({ ticketId, ...rest }: Json): Json {
  return rest;
}
