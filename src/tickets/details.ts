import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Database } from '../database/connection.ts';
import type { Image, Ticket } from '../database/models.ts';
import { createGate } from '../runtime/semaphore.ts';
import { readTicketById } from './show.ts';
import { type OffsetOf, viewImage, viewTicket } from './view.ts';

/** A ticket with its images at one version; its JSON differs by the address that readers know, and by running uploads. */
export type Detail = { readonly ticket: Ticket; write(baseUrl: string): Promise<WrittenDetail> };
/** The JSON of a detail and its entity tag, the same object for all who read the same. */
export type WrittenDetail = { readonly json: Buffer; readonly tag: string };

/** Details of tickets, each read and written once per version, however many ask for it. */
export type Details = {
  /** The ticket at `version` or a later one, with its images; null when it is gone. Whether the caller may see it is not asked. */
  read(ticketId: string, version: number): Promise<Detail | null>;
  /** Whether an earlier reading may serve; if not, `read` gives the ticket as it is now, whatever `version` says. */
  has(ticketId: string): boolean;
};

/** However many come at once, most of the connections to the database are left to uploads. */
const READS_AT_ONCE = 4;
/** A ticket of 1,000 images takes about 2 MB. */
const CACHE_BYTES = 32 * 1024 * 1024;
/** An idle gateway keeps nothing. */
const CACHE_MS = 10_000;

export function createDetails(db: Database, offsetOf: OffsetOf): Details {
  const inGate = createGate(READS_AT_ONCE);
  const reading = new Map<string, Promise<Rendering | null>>();
  const cache = new LRUCache<string, Rendering>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ bytes }) => bytes,
    ttl: CACHE_MS,
    ttlResolution: 0,
    ttlAutopurge: true,
  });

  const read = (ticketId: string): Promise<Rendering | null> => {
    const begun = reading.get(ticketId);
    if (begun) return begun;
    const found = inGate(() => readTicketById(db, ticketId))
      .then((state) => {
        const rendering = state && new Rendering(state.ticket, state.images, offsetOf);
        if (rendering) cache.set(ticketId, rendering);
        return rendering;
      })
      .finally(() => reading.delete(ticketId));
    reading.set(ticketId, found);
    return found;
  };

  return {
    async read(ticketId, version) {
      let found: Rendering | null = cache.get(ticketId) ?? null;
      // A reading that began before `version` was committed may not have it; the one after it has.
      for (let tries = 0; tries < 2 && (found?.ticket.version ?? -1) < version; tries++) found = await read(ticketId);
      return found;
    },
    has: (ticketId) => cache.has(ticketId) || reading.has(ticketId),
  };
}

const OFFSET = '"offset":';

/** The JSON of all images, with a gap for the offset of each that is uploading. */
class Rendering implements Detail {
  readonly ticket: Ticket;
  readonly bytes: number;
  readonly #pieces: string[] = [];
  readonly #uploading: Pick<Image, 'id' | 'staging'>[] = [];
  readonly #offsetOf: OffsetOf;
  #last: { baseUrl: string; offsets: number[]; written: WrittenDetail } | null = null;

  constructor(ticket: Ticket, images: Image[], offsetOf: OffsetOf) {
    this.ticket = ticket;
    this.#offsetOf = offsetOf;
    let text = '';
    for (const [index, image] of images.entries()) {
      if (index > 0) text += ',';
      const json = JSON.stringify(viewImage(image, 0));
      if (image.status !== 'uploading') {
        text += json;
        continue;
      }
      // No text of a client looks like it: in a JSON string each quote has a backslash before it.
      const gap = json.indexOf(OFFSET) + OFFSET.length;
      this.#pieces.push(text + json.slice(0, gap));
      this.#uploading.push({ id: image.id, staging: image.staging });
      text = json.slice(gap + '0'.length);
    }
    this.#pieces.push(text);
    // The pieces, the whole as it was written last, and the snapshot made of it for event streams.
    this.bytes = 3 * this.#pieces.reduce((sum, { length }) => sum + length, 2_000) + 200 * this.#uploading.length;
  }

  async write(baseUrl: string): Promise<WrittenDetail> {
    const found = this.#uploading.map(this.#offsetOf);
    const offsets = found.every((offset) => typeof offset === 'number') ? found : await Promise.all(found);
    const last = this.#last;
    if (last?.baseUrl === baseUrl && offsets.every((offset, index) => offset === last.offsets[index]))
      return last.written;
    const json = Buffer.from(this.#join(baseUrl, offsets));
    // Of the text itself and not of the version: the offset of a running upload moves without one.
    const tag = createHash('sha256').update(json).digest('base64url').slice(0, 27);
    this.#last = { baseUrl, offsets, written: { json, tag } };
    return this.#last.written;
  }

  #join(baseUrl: string, offsets: number[]): string {
    const head = JSON.stringify(viewTicket(this.ticket, baseUrl)).slice(0, -1);
    const images = this.#pieces.map((piece, index) => `${piece}${offsets[index] ?? ''}`);
    return `${head},"images":[${images.join('')}]}`;
  }
}
