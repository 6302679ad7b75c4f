import type { Evidence, ImageRow, Records } from './evidence.ts';
import { type Finding, finding } from './finding.ts';
import type { Entry } from './journal.ts';

const live = ['uploading', 'received', 'transferring', 'stored', 'failed'];
const unfinished = ['uploading', 'received', 'transferring', 'failed'];

/**
 * Single steps of an image (src/model/states.ts). From `transferring` it may be handed back; a try that is over quickly
 * is not noted as begun, and one whose job was given to another meanwhile may still bring the receipt. An image that comes whole
 * with its creation may begin as `received`.
 */
const steps: Record<string, readonly string[]> = {
  new: ['uploading', 'received'],
  uploading: ['uploading', 'received', 'rejected', 'cancelled', 'expired'],
  received: ['transferring', 'received', 'stored', 'failed'],
  transferring: ['transferring', 'received', 'stored', 'failed'],
  failed: ['received'],
};

/** What was promised about the database and the staging folder. */
export function checkRecords({ journal, records, staged, ticketIds }: Evidence): Finding[] {
  const files = finding('files left in staging', 'the staging folder', staged);
  if (!records) return [files];
  const { tickets, images, jobs } = records;
  const ended = new Set(
    tickets.filter(({ status }) => status === 'completed' || status === 'expired').map(({ id }) => id),
  );
  const ours = new Set(Object.values(ticketIds ?? {}));
  return [
    files,
    checkPlaces(records),
    finding(
      'images that came to no end',
      `${images.length} images`,
      images
        .filter(({ status }) => unfinished.includes(status))
        .map(({ id, status, error }) => `image ${id}: ${status}${error ? `, ${error}` : ''}`),
    ),
    finding(
      'jobs left in the queue',
      'the transfer queues',
      jobs.map(({ id, state }) => `job ${id}: ${state}`),
    ),
    finding(
      'tickets that came to no end',
      `${tickets.length} tickets`,
      tickets.filter(({ id }) => !ended.has(id)).map(({ id, status }) => `ticket ${id}: ${status}`),
    ),
    finding(
      'tickets opened twice',
      `${ours.size} tickets asked for`,
      tickets.filter(({ id }) => !ours.has(id)).map(({ id }) => `ticket ${id}: nobody was given it`),
    ),
    checkMoves(journal),
  ];
}

function checkPlaces({ tickets, images }: Records): Finding {
  const byTicket = Map.groupBy(images, ({ ticketId }) => ticketId);
  const violations = tickets.flatMap((ticket) => {
    const mine = byTicket.get(ticket.id) ?? [];
    const count = (statuses: string[]) => mine.filter(({ status }: ImageRow) => statuses.includes(status)).length;
    const real = {
      claimed: count(live),
      received: count(live.slice(1)),
      stored: count(['stored']),
      failed: count(['failed']),
    };
    const wrong = (Object.keys(real) as (keyof typeof real)[]).filter((column) => real[column] !== ticket[column]);
    return [
      ...(real.claimed > ticket.expected
        ? [`ticket ${ticket.id}: ${real.claimed} images in ${ticket.expected} places`]
        : []),
      ...wrong.map((column) => `ticket ${ticket.id}: ${column} is ${ticket[column]}, and there are ${real[column]}`),
    ];
  });
  return finding('places over N, or miscounted', `${tickets.length} tickets, ${images.length} images`, violations);
}

function checkMoves(journal: readonly Entry[]): Finding {
  const moves = journal.filter((entry) => entry.kind === 'moved');
  const illegal = moves.filter(({ from, to, skipped }) => {
    const next = steps[from ?? 'new'] ?? [];
    return !next.includes(to) && !(skipped && leadsTo(from ?? 'new', to));
  });
  return finding(
    'illegal transitions',
    `${moves.length} transitions seen, ${moves.filter(({ skipped }) => skipped).length} across a gap`,
    illegal.map(({ at, image, from, to }) => `image ${image}: ${from ?? 'new'} → ${to} at ${at} ms`),
  );
}

/** Whether any way leads from the one state to the other. */
function leadsTo(from: string, to: string): boolean {
  const reached = new Set([from]);
  for (const state of reached) for (const next of steps[state] ?? []) reached.add(next);
  return reached.has(to);
}
