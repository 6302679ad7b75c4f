import { createReadStream } from 'node:fs';
import { type Client, createClient, type OpenedTicket } from 'hopla/client';
import type { Destination } from './destination.ts';
import { type Display, size } from './display.ts';
import { createJourney, type Outcome } from './journey.ts';
import type { LocalPhoto } from './photos.ts';
import { noteRun, type Unfinished } from './unfinished.ts';

export type UploadRun = {
  destination: Destination;
  description: string | null;
  photos: LocalPhoto[];
  concurrency: number;
  stateDirectory: string;
  display: Display;
  signal: AbortSignal;
};

/** Uploads photos into one ticket, a new one or that of an interrupted run, and waits for each until it is delivered. */
export async function uploadFiles(run: UploadRun): Promise<{ ticketId: string; outcomes: Outcome[] }> {
  const { destination, description, photos, concurrency, display, signal } = run;
  const client = createClient(destination);
  const what = [new URL(destination.url).origin, description ?? '', ...photos.map(({ slot }) => slot).sort()];
  const unfinished = await noteRun(run.stateDirectory, what);
  const ticket = await openTicket(client, run, unfinished);
  const total = photos.reduce((sum, { bytes }) => sum + bytes, 0);
  const goesOn = ticket.status === 'pending' ? '' : ', going on with an earlier run';
  const many = photos.length === 1 ? '1 photo' : `${photos.length} photos`;
  display.line(`ticket ${ticket.id}: ${many}, ${size(total)}${goesOn}`);

  const journey = createJourney(photos, (outcome) => {
    // The bars below the line count it already.
    display.show(journey.legs());
    display.line(describe(outcome));
  });
  const stop = new AbortController();
  const watching = (async () => {
    for await (const event of client.follow(ticket, { signal: AbortSignal.any([signal, stop.signal]) })) {
      journey.onEvent(event);
      display.show(journey.legs());
      if (journey.isOver()) return;
    }
  })();
  try {
    const uploading = client.upload(
      ticket,
      photos.map((photo) => ({ slot: photo.slot, filename: photo.name, data: () => createReadStream(photo.path) })),
      {
        concurrency,
        signal: AbortSignal.any([signal, stop.signal]),
        onProgress({ slot, bytes }) {
          journey.onSent(slot, bytes);
          display.show(journey.legs());
        },
        onResult(result) {
          journey.onResult(result);
          display.show(journey.legs());
          // Nothing more may come of the events where the last photo is refused.
          if (journey.isOver()) stop.abort();
        },
      },
    );
    await Promise.all([uploading, watching.catch(unlessOver)]);
  } finally {
    display.end();
    stop.abort();
  }
  const outcomes = journey.outcomes();
  if (outcomes.every(({ status }) => status === 'stored')) await unfinished.forget();
  return { ticketId: ticket.id, outcomes };

  function unlessOver(error: unknown): void {
    if (signal.aborted || !journey.isOver()) throw error;
  }
}

/** The ticket of an earlier run whose time ran out takes no more: a new one is opened. */
async function openTicket(client: Client, run: UploadRun, unfinished: Unfinished): Promise<OpenedTicket> {
  const { photos, description, signal } = run;
  const request = { images: photos.length, description };
  const ticket = await client.openTicket(request, { idempotencyKey: unfinished.key, signal });
  if (ticket.status !== 'expired') return ticket;
  return client.openTicket(request, { idempotencyKey: await unfinished.renew(), signal });
}

function describe({ photo, status, url, error }: Outcome): string {
  if (status === 'stored') return `✔ ${photo.name}  ${url}`;
  return `✖ ${photo.name}  ${status}: ${error?.message ?? ''} (${error?.code})`;
}
