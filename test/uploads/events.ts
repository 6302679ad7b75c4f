import type { Json } from '../support/client.ts';

export type TicketEvent = { event: string; data: Json };

/** Listens to a ticket's events as they come; `close` ends it. */
export async function listen({ eventsUrl, uploadToken }: { eventsUrl: string; uploadToken: string }) {
  const leaving = new AbortController();
  const { body } = await fetch(eventsUrl, {
    headers: { Authorization: `Bearer ${uploadToken}` },
    signal: leaving.signal,
  });
  const events: TicketEvent[] = [];
  const reading = (async () => {
    let text = '';
    for await (const piece of body?.pipeThrough(new TextDecoderStream()) ?? []) {
      const blocks = (text + piece).split('\n\n');
      text = blocks.pop() ?? '';
      events.push(...blocks.flatMap(parse));
    }
  })().catch(() => {
    // AbortError, by `close`.
  });
  return {
    events,
    async close() {
      leaving.abort();
      await reading;
    },
  };
}

function parse(block: string): TicketEvent[] {
  const field = (name: string) => block.match(new RegExp(`^${name}: ?(.*)$`, 'm'))?.[1];
  const [event, data] = [field('event'), field('data')];
  return event && data ? [{ event, data: JSON.parse(data) }] : [];
}
