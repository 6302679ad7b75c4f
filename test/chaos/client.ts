import { Agent } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import * as tus from 'tus-js-client';
import type { Journal } from './journal.ts';
import { bytesOf, type Photo, type TicketPlan } from './plan.ts';

/** Where one ticket's photos go. */
export type Destination = { endpoint: string; headers: Record<string, string> };

/** The clients of the world: unmodified tus-js-client, told to be patient. */
export type Clients = {
  /** Uploads every photo of a ticket; resolves when each was told success or gave up. */
  upload(ticket: TicketPlan, destination: Destination): Promise<void>;
  /** Some of the running uploads are let go by their clients; they go on when the function that is given back is called. */
  vanish(choose: () => boolean): () => void;
  /** How many photos are on their way. */
  readonly running: number;
};

/** About five minutes of trying without any progress; with progress they begin anew. */
const retryDelays = [0, 100, 200, 400, 700, ...Array<number>(300).fill(1000)];

/**
 * Where there are several processes every other photo has a connection for each request, which the balancer gives to one
 * after the other; the rest stay with a process for as long as their connection lasts.
 */
export function createClients(journal: Journal, processes: number): Clients {
  const restless = new tus.DefaultHttpStack({ agent: new Agent({ keepAlive: false }) });
  const stackOf = ({ id }: Photo) => (processes > 1 && Number(id.slice(1)) % 2 === 1 ? restless : undefined);
  const active = new Set<tus.Upload>();
  return {
    async upload(ticket, destination) {
      const waiting = [...ticket.photos];
      const lane = async () => {
        for (let photo = waiting.shift(); photo; photo = waiting.shift())
          await uploadPhoto(photo, destination, journal, active, stackOf(photo));
      };
      await Promise.all(Array.from({ length: ticket.parallel }, lane));
    },
    vanish(choose) {
      const gone = [...active].filter(choose);
      const stopped = gone.map((upload) => upload.abort().catch(() => {}));
      return () => {
        // One whose success was on its way when it was let go has ended, and stays so.
        for (const [index, upload] of gone.entries())
          void stopped[index]?.then(() => {
            if (active.has(upload)) upload.start();
          });
      };
    },
    get running() {
      return active.size;
    },
  };
}

async function uploadPhoto(
  photo: Photo,
  { endpoint, headers }: Destination,
  journal: Journal,
  active: Set<tus.Upload>,
  httpStack: tus.HttpStack | undefined,
): Promise<void> {
  journal.write({ kind: 'started', photo: photo.id });
  const settled = Promise.withResolvers<void>();
  const upload = new tus.Upload(bytesOf(photo), {
    endpoint,
    headers,
    ...(httpStack ? { httpStack } : {}),
    retryDelays,
    chunkSize: photo.chunkSize ?? Number.POSITIVE_INFINITY,
    uploadDataDuringCreation: photo.withCreation,
    uploadLengthDeferred: photo.deferLength,
    metadata: {
      filename: `${photo.id} "Ferien" – Straße.jpg`,
      filetype: 'image/jpeg',
      ...(photo.slot ? { slot: photo.slot } : {}),
      ...(photo.tellSha256 ? { sha256: photo.sha256 } : {}),
    },
    onBeforeRequest(request) {
      journal.write({ kind: 'asked', photo: photo.id, method: request.getMethod() });
    },
    // The way of a stock client to look at answers; it changes nothing.
    onAfterResponse(request, response) {
      const offset = response.getHeader('Upload-Offset');
      const location = response.getHeader('Location');
      journal.write({
        kind: 'response',
        photo: photo.id,
        method: request.getMethod(),
        upload: request.getMethod() === 'POST' ? uploadIdOf(location) : uploadIdOf(request.getURL()),
        status: response.getStatus(),
        offset: offset === undefined ? null : Number(offset),
      });
    },
    onSuccess() {
      journal.write({ kind: 'told', photo: photo.id, upload: uploadIdOf(upload.url ?? undefined) ?? '' });
      settled.resolve();
    },
    onError(error) {
      const answer = 'originalResponse' in error ? error.originalResponse : null;
      journal.write({
        kind: 'gave-up',
        photo: photo.id,
        status: answer?.getStatus() ?? null,
        message: `${error.message} ${answer?.getBody() ?? ''}`.slice(0, 600),
      });
      settled.resolve();
    },
  });
  active.add(upload);
  upload.start();
  await settled.promise;
  active.delete(upload);
}

function uploadIdOf(url: string | undefined): string | null {
  return url ? (new URL(url, 'http://x').pathname.split('/').at(-1) ?? null) : null;
}

/** Repeats what may fail while things go wrong, until it succeeds or the world ends. */
export async function insist<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await attempt();
    } catch {
      await delay(300, undefined, { signal });
    }
  }
}
