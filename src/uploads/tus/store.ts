import type { AsyncLocalStorage } from 'node:async_hooks';
import { FileStore } from '@tus/file-store';
import { Upload } from '@tus/utils';
import { Image, type Ticket } from '../../database/models.ts';
import type { ReportProgress } from '../../events/types.ts';
import type { Caller } from '../../identity/tokens.ts';
import { moveImage } from '../../ledger/move-images.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import type { ImageLimits } from '../../model/image-limits.ts';
import { isReceived } from '../../model/states.ts';
import type { Facts } from '../../staging/ingest.ts';
import type { Lent } from '../../staging/local/buffer-pool.ts';
import { assertSize, imageTooLarge } from '../creation.ts';
import { appendBody } from '../session/body-writer.ts';
import {
  assertUploading,
  discardStaged,
  type FinishDeps,
  finishUpload,
  landUpload,
  refuse,
} from '../session/finish.ts';
import type { Staged, Wholes } from '../session/one-shot.ts';
import { assertEnd, type UploadBody } from './upload-body.ts';

/** One request on its way through the tus server, which knows an upload by its id alone. */
export type Exchange = {
  readonly ticketId: string;
  /** Owner of the ticket. */
  readonly userId: string;
  /** The ticket as it was lately. */
  readonly ticket: Ticket;
  readonly caller: Caller;
  /** Aborts, with the error to be told, when the caller's token is no longer valid. */
  readonly ended: AbortSignal;
  readonly baseUrl: string;
  /** Null for a creation until it has its place. */
  imageId: string | null;
  /** The upload as the database had it under the lock. */
  image?: Image;
  /** Of a creation: what of its image is here already. */
  staged?: Staged | null;
  /** Where the upload stands, as far as this request knows. */
  offset?: number;
  /** What was thrown, before the tus server made a status of it. */
  failure?: unknown;
};

export type StoreDeps = FinishDeps & {
  limits: ImageLimits;
  reportProgress: ReportProgress;
  wholes: Wholes;
  exchanges: AsyncLocalStorage<Exchange>;
};

/**
 * The staging area as @tus/server sees it: bytes in files, everything else in Postgres.
 *
 * Of an upload that is still coming in the file's size is the offset; of every other the database knows it, whether or
 * not the file is still there.
 */
export class StagingStore extends FileStore {
  readonly #deps: StoreDeps;

  constructor(deps: StoreDeps) {
    super({ directory: deps.staging.directory });
    // For OPTIONS to tell; verified-body.ts has it.
    this.extensions.push('checksum', 'checksum-trailer');
    this.#deps = deps;
  }

  get #exchange(): Exchange {
    const exchange = this.#deps.exchanges.getStore();
    if (!exchange) throw new Error('the staging store was used outside of a request');
    return exchange;
  }

  /** The upload as this request found it. */
  get #looked(): Image {
    const { image } = this.#exchange;
    if (!image) throw new Error('an upload changes only after it was looked at');
    return image;
  }

  override async getUpload(id: string): Promise<Upload> {
    const { image, offset } = await this.look(id);
    const size = image.size === null ? {} : { size: image.size };
    return new Upload({ id, offset, ...size, creation_date: image.createdAt.toISOString() });
  }

  /** Where an upload stands. One whose bytes are all here but not committed is committed now, or answers 423. */
  async look(id: string): Promise<{ image: Image; offset: number }> {
    const image = await this.#load(id);
    let offset = image.size;
    if (image.status === 'uploading') {
      offset = (await this.#deps.staging.sizeOf(id)) ?? 0;
      if (offset === image.size) await finishUpload(this.#deps, image, offset);
    }
    return this.#remember(image, offset ?? 0);
  }

  /** The same for a request that goes on from `offset`; if the one before left it there, without a question to database or disk. */
  async goOn(id: string, offset: number): Promise<{ image: Image; offset: number }> {
    const image = this.#deps.intake.take(id, offset);
    return image?.ticketId === this.#exchange.ticketId ? this.#remember(image, offset) : this.look(id);
  }

  #remember(image: Image, offset: number) {
    Object.assign(this.#exchange, { image, offset });
    return { image, offset };
  }

  /** A size that no image has turns the upload away: it is the size of the client's file, and nothing will change it. */
  override async declareUploadLength(id: string, size: number): Promise<void> {
    const { limits, staging, db } = this.#deps;
    if (this.#looked.size === size) return;
    try {
      assertSize(size, limits.bytes);
    } catch (error) {
      await refuse(this.#deps, this.#looked, error);
    }
    const change = await moveImage(db, id, ['uploading'], 'uploading', { size });
    if (!change) throw new HoplaError('upload-gone');
    staging.reached(id, { size, position: 0 });
    this.#exchange.image = change.image;
  }

  /** Ends an unfinished upload and frees its place. */
  override async remove(id: string): Promise<void> {
    const image = await this.#load(id);
    const change = await moveImage(this.#deps.db, id, ['uploading'], 'cancelled');
    if (!change) throw isReceived(image.status) ? new HoplaError('upload-finished') : new HoplaError('upload-gone');
    await discardStaged(this.#deps, change.image);
  }

  /**
   * Takes a request body from `offset` on and resolves to the new offset. When that is the whole image, it is durably
   * received by then.
   */
  async receive(body: UploadBody, offset: number, signal: AbortSignal): Promise<number> {
    const exchange = this.#exchange;
    const image = this.#looked;
    const { staging, intake, reportProgress, limits } = this.#deps;
    const limit = (image.size ?? limits.bytes) - offset;
    if (Number(body.headers['content-length'] ?? 0) > limit) return this.#refuseExcess(image);
    if (image.status !== 'uploading') return offset;
    const { staged } = exchange;
    let reached = offset;
    if (staged) {
      reached = exchange.offset = staged.offset;
      if (staged.failure !== undefined) await refuse(this.#deps, image, staged.failure);
    }
    const { id: imageId, ticketId, size: total } = image;
    const report = (bytes: number) =>
      reportProgress({ ticketId, userId: exchange.userId, imageId, leg: 'upload', bytes, total });
    let landed: Facts | null = null;
    const makeRoom = this.#roomMaker(image);
    const end = await appendBody({
      source: body,
      position: reached,
      limit: offset + limit - reached,
      signal,
      buffers: intake.buffers,
      write: async (lent) => {
        const room = makeRoom(lent);
        if (room) await room;
        let judge = () => {};
        if (lent.end === image.size) landed = await landUpload(this.#deps, image, lent);
        else judge = await this.#write(image, lent);
        reached = exchange.offset = Math.max(reached, lent.end);
        await this.#deps.reach('upload.written');
        report(reached);
        try {
          judge();
        } catch (error) {
          await refuse(this.#deps, image, error);
        }
      },
    });
    if (end === 'too-long') {
      // As if none of it had been taken: what is here would otherwise pass for the whole image.
      await staging.cut(image.id, offset);
      staging.wrote(image.id, offset - reached);
      intake.forget(image.id);
      report(offset);
      return await this.#refuseExcess(image);
    }
    if (reached === image.size) await finishUpload(this.#deps, image, reached, landed);
    assertEnd(end, signal);
    if (reached !== image.size) intake.keep(image, reached);
    return reached;
  }

  /**
   * Asks for room before bytes are written that the image has none for: it was idle, or its length is not known. Null when it
   * has. While one piece waits for room the next ones wait behind it, as they are to be written in their order.
   */
  #roomMaker(image: Image): (lent: Lent) => Promise<void> | null {
    const { staging } = this.#deps;
    const { id, size, ticketId } = image;
    const { userId } = this.#exchange;
    let asked: Promise<void> | null = null;
    const ask = async ({ position, end }: Lent) => {
      if (staging.covers(id, end)) return;
      // An upload that ended meanwhile has no room because it is to have none.
      await assertUploading(this.#deps, image);
      await staging.reserve(id, { size, position }, { userId, ticketId });
    };
    return (lent) => {
      if (!asked && staging.covers(id, lent.end)) return null;
      asked = (asked ?? Promise.resolve()).then(() => ask(lent));
      return asked;
    };
  }

  async #write(image: Image, lent: Lent): Promise<() => void> {
    try {
      return await this.#deps.intake.write(image.id, image.size, lent);
    } catch (error) {
      await assertUploading(this.#deps, image);
      throw error;
    }
  }

  /** More bytes came than the upload has; where its length was open, the image is larger than any may be. */
  async #refuseExcess(image: Image): Promise<never> {
    if (image.size !== null) throw new HoplaError('length-exceeded', `The upload has ${image.size} bytes.`);
    return refuse(this.#deps, image, imageTooLarge(null, this.#deps.limits.bytes));
  }

  async #find(id: string): Promise<Image | undefined> {
    const { db, staging, wholes } = this.#deps;
    await wholes.settle(id);
    const image = await Image.query(db).findById(id);
    if (image || (await staging.sizeOf(id)) === null) return image;
    // A whole image that another process could not commit yet: turned away, it would come a second time.
    if (await wholes.isComing(id)) throw new HoplaError('upload-uncommitted', undefined, { retryAfterMs: 1000 });
    return Image.query(db).findById(id);
  }

  async #load(id: string): Promise<Image> {
    const { ticketId } = this.#exchange;
    const image = isId(id) ? await this.#find(id) : undefined;
    if (image?.ticketId !== ticketId) throw new HoplaError('upload-not-found');
    if (image.status !== 'uploading' && !isReceived(image.status))
      throw new HoplaError('upload-gone', `The upload is ${image.status}.`);
    // Its bytes are in another gateway's staging area: taken here, they would be two halves of a photo.
    if (image.status === 'uploading' && image.staging !== this.#deps.staging.id)
      throw new HoplaError('upload-unavailable', 'Another gateway has this upload.', { retryAfterMs: 1000 });
    this.#exchange.image = image;
    return image;
  }
}
