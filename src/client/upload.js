/** @import { DetailedError } from 'tus-js-client' */
/** @import { Image, Photo, PhotoResult, TicketAccess, UploadOptions } from './declarations.d.ts' */
import * as tus from 'tus-js-client';
import { backoffMs, pause } from './pause.js';
import { mayPass, ProblemError, readProblem, unreachable } from './problem.js';

const CONCURRENCY = 3;
/** Interruptions that tus-js-client bridges by itself; each byte that gets through begins them anew. */
const RETRY_DELAYS_MS = [0, 1000, 2000, 4000, 8000];
/** Beyond those: rounds of an upload without any byte more, with a growing pause or what Retry-After says. */
const ROUNDS = 6;
/** What gave its place back: its slot is free for another try. */
const GONE = ['rejected', 'cancelled', 'expired'];

/**
 * Uploads photos, some at once. `images` is what the ticket has already: those are gone on with, or skipped.
 *
 * @param {TicketAccess & { uploadToken: string }} ticket
 * @param {Photo[]} photos
 * @param {Image[]} images
 * @param {UploadOptions} options
 * @returns {Promise<PhotoResult[]>}
 */
export async function uploadPhotos(ticket, photos, images, { concurrency = CONCURRENCY, ...options }) {
  assertSlots(photos);
  const present = new Map(images.filter(({ status }) => !GONE.includes(status)).map((image) => [image.slot, image]));
  /** @type {PhotoResult[]} */
  const results = [];
  const waiting = photos.entries();
  // One that throws was aborted, and so were the others.
  await Promise.all(
    Array.from({ length: Math.min(concurrency, photos.length) }, async () => {
      for (const [index, photo] of waiting) {
        const result = await uploadPhoto(ticket, photo, present.get(photo.slot), options);
        results[index] = result;
        options.onResult?.(result);
      }
    }),
  );
  return results;
}

/**
 * Without a slot a lost answer would cost a second place; of two photos with the same one the second would pass for sent.
 *
 * @param {Photo[]} photos
 */
function assertSlots(photos) {
  const slots = new Set();
  for (const { slot } of photos) {
    if (typeof slot !== 'string' || slot === '')
      throw new TypeError('Each photo needs a slot: its place in the ticket.');
    if (slots.has(slot)) throw new TypeError(`Two photos have the slot ${slot}.`);
    slots.add(slot);
  }
}

/**
 * @param {TicketAccess & { uploadToken: string }} ticket
 * @param {Photo} photo
 * @param {Image | undefined} image
 * @param {UploadOptions} options
 * @returns {Promise<PhotoResult>}
 */
async function uploadPhoto(ticket, photo, image, { onProgress, signal }) {
  const { slot } = photo;
  let uploadUrl = null;
  if (image?.status === 'uploading') uploadUrl = `${ticket.uploadUrl}/${image.id}`;
  else if (image) {
    const total = image.size ?? 0;
    onProgress?.({ slot, bytes: total, total });
    return { slot, status: 'received', imageId: image.id };
  }
  let sent = -1;
  for (let round = 0; ; round++) {
    try {
      const url = await send(ticket, photo, uploadUrl, signal, {
        onUrl: (known) => {
          uploadUrl = known;
        },
        onProgress(bytes, total) {
          if (bytes > sent) round = 0;
          sent = Math.max(sent, bytes);
          onProgress?.({ slot, bytes, total });
        },
      });
      return { slot, status: 'received', imageId: url.slice(url.lastIndexOf('/') + 1) };
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof ProblemError)) throw error;
      const again = mayPass(error) || error.status === 409 || error.status === 423;
      if (!again || round >= ROUNDS) return { slot, status: 'refused', error };
      await pause(Math.max(error.retryAfterMs ?? 0, backoffMs(round)), signal);
    }
  }
}

/**
 * One tus upload; resolves to its address.
 *
 * @param {TicketAccess & { uploadToken: string }} ticket
 * @param {Photo} photo
 * @param {string | null} uploadUrl
 * @param {AbortSignal | undefined} signal
 * @param {{ onUrl(url: string): void, onProgress(bytes: number, total: number): void }} told
 * @returns {Promise<string>}
 */
async function send(ticket, photo, uploadUrl, signal, { onUrl, onProgress }) {
  signal?.throwIfAborted();
  const data = /** @type {File} */ (typeof photo.data === 'function' ? await photo.data() : photo.data);
  const { slot, filename, filetype, sha256 } = photo;
  const metadata = Object.entries({ slot, filename, filetype, sha256 }).filter(([, value]) => value !== undefined);
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(data, {
      endpoint: ticket.uploadUrl,
      uploadUrl,
      headers: { Authorization: `Bearer ${ticket.uploadToken}` },
      metadata: /** @type {Record<string, string>} */ (Object.fromEntries(metadata)),
      retryDelays: RETRY_DELAYS_MS,
      // The ticket knows what was begun: nothing has to be remembered here.
      storeFingerprintForResuming: false,
      // What says when to come back is asked again then, and not before.
      onShouldRetry: (error) =>
        !signal?.aborted && isPassing(error) && !error.originalResponse?.getHeader('Retry-After'),
      // It forgets an abort that comes while it opens the file.
      onBeforeRequest: () => signal?.throwIfAborted(),
      onUploadUrlAvailable: () => {
        if (upload.url) onUrl(upload.url);
      },
      onProgress,
      onSuccess: () => settle(() => resolve(upload.url ?? '')),
      onError: (error) => settle(() => reject(toProblem(error))),
    });
    const stop = () => {
      upload.abort().catch(() => {
        // The request was not running any more.
      });
      settle(() => reject(signal?.reason));
    };
    /** @param {() => void} end */
    const settle = (end) => {
      signal?.removeEventListener('abort', stop);
      end();
    };
    signal?.addEventListener('abort', stop, { once: true });
    upload.start();
  });
}

/** @param {DetailedError} error */
function isPassing(error) {
  const status = error.originalResponse?.getStatus() ?? 0;
  return status < 400 || status >= 500 || status === 409 || status === 423;
}

/** @param {Error | DetailedError} error */
function toProblem(error) {
  if (!('originalResponse' in error)) return error;
  const response = error.originalResponse;
  if (!response) return unreachable(error);
  return readProblem(response.getBody(), response.getStatus(), response.getHeader('Retry-After'));
}
