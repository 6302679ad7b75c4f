import type { Job } from 'pg-boss';
import type { Image } from '../database/models.ts';

/** The data of a job. The job's id is the image's id, so that queueing an image twice makes one job. */
export type TransferJob = { imageId: string };

/** One claim of a job: the id and the retry count tell it from every later claim of the same job. */
export type Claim = Pick<Job<TransferJob>, 'id' | 'name' | 'data' | 'retryCount'>;

/** The columns of an image that its transfer needs. */
export type OwedImage = Pick<Image, 'id' | 'ticketId' | 'size' | 'filename' | 'contentType' | 'sha256' | 'attempts'>;

/** Each staging area has a queue of its own: only the processes that have the file can send it. */
export function queueOf(stagingId: string): string {
  return `transfer.${stagingId}`;
}

const DAY_SECONDS = 86_400;

/** The shortest heartbeat that pg-boss takes. A worker refreshes its jobs twice in that time. */
export const HEARTBEAT_SECONDS = 10;

export const QUEUE_POLICY = 'standard';
export const QUEUE_OPTIONS = {
  // Workers learn of new images from the event hub.
  notify: false,
  // The image's own attempts decide when to give up (failure.ts); the queue never gives up.
  retryLimit: 1_000_000,
  retryDelay: 1,
  retryBackoff: false,
  // The longest time of one attempt. The deadline of a transfer follows from the image's size, and is far earlier.
  expireInSeconds: 3 * 3600,
  // pg-boss deletes jobs that waited longer. A photo waits as long as it must.
  retentionSeconds: 3650 * DAY_SECONDS,
  deleteAfterSeconds: 3600,
  // A job whose worker is silent comes back after this time and the next look of the monitor.
  heartbeatSeconds: HEARTBEAT_SECONDS,
} as const;
