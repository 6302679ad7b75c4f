import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';
import type { Entry } from './journal.ts';

/** What was promised about server-sent events: no change is missed, what is shown is the truth, and the end is told. */
export function checkStreams({ journal, records, views }: Evidence): Finding[] {
  if (!records || !views) return [];
  const events = journal.filter((entry) => entry.kind === 'stream');
  const byListener = Map.groupBy(events, ({ listener }) => listener);
  const over = new Set(
    records.tickets.filter(({ status }) => status === 'completed' || status === 'expired').map(({ id }) => id),
  );
  const images = Map.groupBy(records.images, ({ ticketId }) => ticketId);
  const wrong = views.flatMap(({ listener, ticket, images: shown }) => {
    const real = new Map((images.get(ticket) ?? []).map(({ id, status }) => [id, status]));
    return [...new Set([...real.keys(), ...Object.keys(shown)])]
      .filter((id) => real.get(id) !== shown[id])
      .map((id) => `listener ${listener}: image ${id} is ${real.get(id) ?? 'not there'}, shown as ${shown[id]}`);
  });
  const connections = events.filter(({ event }) => event === 'open').length;
  return [
    finding(
      'gaps in event streams',
      `${events.length} events on ${connections} connections`,
      [...byListener].flatMap(([listener, own]) => gapsOf(listener, own)),
    ),
    finding('listeners with a wrong picture', `${views.length} listeners`, wrong),
    finding(
      'streams without their end',
      `${views.length} listeners`,
      views
        .filter(({ ticket, ended }) => over.has(ticket) && !ended)
        .map(({ listener, ticket }) => `listener ${listener} of ticket ${ticket}`),
    ),
  ];
}

/** A change carries the version before it plus one, or comes with a snapshot; nothing goes back. */
function gapsOf(listener: string, events: (Entry & { kind: 'stream' })[]): string[] {
  let last: number | null = null;
  const gaps: string[] = [];
  for (const { at, event, version } of events) {
    if (version === null) continue;
    const before: number = last ?? version;
    const follows =
      event === 'snapshot' ? version >= before : last !== null && (version === before || version === before + 1);
    if (!follows) gaps.push(`listener ${listener}: ${event} ${version} after ${last ?? 'nothing'}, at ${at} ms`);
    last = version;
  }
  return gaps;
}
