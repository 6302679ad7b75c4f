import type { Image } from '../database/models.ts';
import type { Statement } from '../database/sql.ts';
import type { ReceivedImage } from './received-image.ts';

/**
 * Writes the SQL that queues the transfers of images, as a part of the statement that receives them.
 *
 * @param images the rows behind FROM, with columns `id` and `staging`
 */
export type EnqueueTransfers = (images: Statement) => Statement;

/** As `EnqueueTransfers`; this process claims the jobs whose ids are in `claimed`, as by a fetch right after the commit. */
export type EnqueueClaimed = (images: Statement, claimed: readonly string[]) => Statement;

/** Send slots of this process that are kept for images, while one statement receives the images and queues their jobs. */
export type Reservation = {
  /** The images that got a send slot: the statement must claim their jobs for this process. */
  readonly ids: readonly string[];
  /** Must be called once, with the images that the statement received, or with its error. */
  settle(outcome: PromiseSettledResult<Image[]>): void;
};

/** Keeps send slots for as many of the images as there are idle slots. */
export type ReserveTransfers = (images: ReceivedImage[]) => Reservation;
