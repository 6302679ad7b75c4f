import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Journal, StreamHappening } from './journal.ts';

/** What one listener has put together from its events. */
export type View = { listener: string; ticket: string; images: Record<string, string>; ended: boolean };

export type Listener = { readonly view: View; close(): void };

type Event = { name: string; id: number | null; data: string };
type ImageData = { id: string; status: string };

/** Browsers wait as long as the server's `retry:` says; this one is in a hurry. */
const RECONNECT_MS = 500;

/**
 * Watches one ticket as an EventSource does: reconnects with Last-Event-ID whenever the stream is lost, takes a snapshot
 * for the whole truth and each later event for a change of it, and stops at `end`.
 */
export function watchTicket(
  name: string,
  eventsUrl: string,
  ticket: string,
  headers: Record<string, string>,
  journal: Journal,
): Listener {
  const view: View = { listener: name, ticket, images: {}, ended: false };
  const closing = new AbortController();
  const see = (event: StreamHappening, version: number | null = null) =>
    journal.write({ kind: 'stream', listener: name, event, version });
  let lastId: number | null = null;

  const take = ({ name: event, id, data }: Event) => {
    if (event === 'snapshot') {
      const { images } = JSON.parse(data) as { images: ImageData[] };
      view.images = Object.fromEntries(images.map((image) => [image.id, image.status]));
    } else if (event === 'image') {
      const image = JSON.parse(data) as ImageData;
      view.images[image.id] = image.status;
    }
    if (id !== null) lastId = id;
    if (event === 'snapshot' || event === 'image' || event === 'ticket' || event === 'end') see(event, id);
    if (event === 'end') view.ended = true;
  };

  const listen = async () => {
    while (!view.ended && !closing.signal.aborted) {
      try {
        const last: Record<string, string> = lastId === null ? {} : { 'Last-Event-ID': `${lastId}` };
        await follow(new URL(eventsUrl), { ...headers, ...last }, () => see('open'), take, closing.signal);
      } catch {
        // Refused, reset or cut off in the middle: an EventSource tries again.
      }
      if (view.ended) return;
      see('lost');
      await delay(RECONNECT_MS, undefined, { signal: closing.signal }).catch(() => {});
    }
  };
  void listen();
  return { view, close: () => closing.abort() };
}

/** Reads one stream to its end. */
async function follow(
  url: URL,
  headers: Record<string, string>,
  onOpen: () => void,
  onEvent: (event: Event) => void,
  signal: AbortSignal,
): Promise<void> {
  const request = http.get(url, { headers, agent: false, signal });
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  if (response.statusCode !== 200) {
    response.destroy();
    throw new Error(`the event stream answered ${response.statusCode}`);
  }
  onOpen();
  let event: Event = { name: 'message', id: null, data: '' };
  let rest = '';
  // Not by node:readline, which waits for ever on a stream that was reset.
  for await (const chunk of response.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        if (event.data !== '') onEvent(event);
        event = { name: 'message', id: null, data: '' };
      } else if (line.startsWith('event: ')) event.name = line.slice(7);
      else if (line.startsWith('data: ')) event.data += line.slice(6);
      else if (line.startsWith('id: ')) event.id = Number.parseInt(line.slice(4), 10);
    }
  }
}
