import type { Peers } from '../../cluster/membership-unix.ts';
import { claimPlace, type PlaceRequest } from '../../ledger/claim-slots.ts';
import type { ReceivedFacts } from '../../ledger/received-image.ts';
import { HoplaError } from '../../model/errors.ts';
import type { Facts } from '../../staging/ingest.ts';
import { type Admission, admit, type Created, type CreationDeps, createUpload, knownOffset } from '../creation.ts';
import type { UploadBody } from '../tus/upload-body.ts';
import { appendBody } from './body-writer.ts';
import { assertExpected, type FinishDeps, logReceived, toReceived } from './finish.ts';

/**
 * How long a body may take to come in before its image takes a place without being whole, in milliseconds: others are to see
 * that somebody sends it, and the client to learn that there is none.
 */
const PATIENCE_MS = 1_000;
const RETRY_MS = 1_000;
/** How long another process may take to say whether it has an image in mind, in milliseconds. */
const ASK_MS = 5_000;

export type WholeDeps = FinishDeps & CreationDeps & { peers: Pick<Peers, 'askAll'> };

/** Which upload the client has now, and where it stands: below its size for as long as it is not committed. */
export type Landed = { imageId: string; offset: number };

/** What is here of an image without a row, as it could not be received at once. */
export type Staged = {
  /** Bytes in its file. */
  offset: number;
  /** Why it cannot be received, if that is so. */
  failure: unknown;
  /** Takes a place for it; throws what `createUpload` throws. When it gets none, it is gone. */
  claim(): Promise<Created>;
  /** Nothing more is done for it by this request: without a place it is gone. */
  end(): Promise<void>;
};

/**
 * Images that come whole with their creation, and quickly: one transaction takes the place and receives the image, where
 * others need two. Nothing of them is in the database before; so what cannot be committed at once is kept in mind here, and
 * its client is told to come back to it.
 */
export type Wholes = {
  /**
   * Receives the image that a creation brings. What has to go the long way is left in the staging area, with the rest of the
   * body still to be read: not acceptable, too slow, a failing disk. Null, with nothing changed, for a creation that brings no
   * whole image, or when there is no room. Throws what `claimPlace` throws.
   */
  receive(request: PlaceRequest, userId: string, body: UploadBody): Promise<Landed | Staged | null>;
  /** Tries again to commit what could not be committed; throws 423 `upload-uncommitted` while that is so. */
  settle(imageId: string): Promise<void>;
  /**
   * Whether a staged file without a row belongs to an image that some process has in mind: then it may get its row at any
   * moment. When that is not so, the database has to be asked once more, as it may have got it just now.
   */
  isComing(imageId: string, signal?: AbortSignal): Promise<boolean>;
  close(): void;
};

/** A durable image without a row; what it holds of the staging area stays its own. */
type Uncommitted = {
  request: PlaceRequest & { facts: ReceivedFacts };
  admission: Admission;
  trying: Promise<Landed> | null;
};

export function createWholes(deps: WholeDeps): Wholes {
  const { db, staging, intake, arrivals, peers, log, reach } = deps;
  /** Without a row so far: on their way through `receive`, or left by it. Recovery lets their files be. */
  const arriving = new Set<string>();
  /** Those that could not be committed. */
  const uncommitted = new Map<string, Uncommitted>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  /** Brings the image into its file. `landed` are the facts of a durable, acceptable one; else `failure` may say what is wrong. */
  const stage = async (request: PlaceRequest, size: number, body: UploadBody) => {
    const { imageId, expectedSha256 } = request;
    const image = { id: imageId, expectedSha256 };
    let offset = 0;
    let landed = null as Facts | null;
    try {
      const end = await appendBody({
        ...{ source: body, position: 0, limit: size, patienceMs: PATIENCE_MS, buffers: intake.buffers },
        async write(lent) {
          if (lent.end === size) {
            landed = await intake.land(imageId, lent);
            assertExpected(image, landed);
            offset = size;
          } else {
            const judge = await intake.write(imageId, size, lent);
            offset = Math.max(offset, lent.end);
            await reach('upload.written');
            judge();
          }
        },
      });
      return { offset, failure: undefined, landed: end === 'complete' ? landed : null };
    } catch (failure) {
      log.debug({ err: failure, imageId }, 'a whole image goes the long way');
      return {
        offset: Math.min(offset, (await staging.sizeOf(imageId).catch(() => null)) ?? 0),
        failure,
        landed: null,
      };
    }
  };

  const discard = async ({ imageId }: PlaceRequest, admission: Admission) => {
    uncommitted.delete(imageId);
    intake.forget(imageId);
    await staging.remove(imageId).finally(admission.withdraw);
  };

  /**
   * One try at a time: of two, one could find no place and remove the file, for which the other is just given a place that
   * became free.
   */
  const commit = (one: Uncommitted, content: Buffer | null = null): Promise<Landed> => {
    one.trying ??= attempt(one, content).finally(() => {
      one.trying = null;
    });
    return one.trying;
  };

  const attempt = async (one: Uncommitted, content: Buffer | null): Promise<Landed> => {
    const { request, admission } = one;
    const { imageId, ticketId, facts } = request;
    try {
      const { image } = await claimPlace(db, arrivals.takePlace, { ...request, content });
      if (image.id === imageId) {
        uncommitted.delete(imageId);
        logReceived(log, imageId, ticketId, facts.size);
        return { imageId, offset: facts.size };
      }
      await discard(request, admission);
      return { imageId: image.id, offset: await knownOffset(staging, image) };
    } catch (error) {
      if (error instanceof HoplaError) {
        await discard(request, admission);
        throw error;
      }
      // Whether it was committed or not: its id says so, once the database answers again.
      if (!uncommitted.has(imageId)) log.warn({ err: error, imageId, ticketId }, 'upload delayed');
      uncommitted.set(imageId, one);
      retryLater();
      return { imageId, offset: facts.size - 1 };
    }
  };

  const retryLater = () => {
    if (closed) return;
    timer ??= setTimeout(() => {
      timer = undefined;
      // Together, as they go into few transactions; who fails again comes back here.
      for (const one of uncommitted.values()) commit(one).catch(() => {});
    }, RETRY_MS);
  };

  /** Until it has a row, recovery leaves its file alone. */
  const leave = (
    request: PlaceRequest,
    userId: string,
    admission: Admission,
    body: UploadBody,
    { offset, failure }: Pick<Staged, 'offset' | 'failure'>,
  ): Staged => {
    const { imageId } = request;
    let settled = false;
    const withdraw = async () => {
      settled = true;
      await discard(request, admission).finally(() => arriving.delete(imageId));
    };
    return {
      ...{ offset, failure },
      async claim() {
        const created = await createUpload(deps, request, userId, { withdraw });
        settled = true;
        arriving.delete(imageId);
        return created;
      },
      async end() {
        // Nobody may have read the rest: its connection would be of no more use.
        body.resume();
        if (!settled) await withdraw();
      },
    };
  };

  const receive = async (request: PlaceRequest, userId: string, body: UploadBody, size: number) => {
    const admission = await admit(deps, request, userId).catch(() => null);
    if (!admission) return null;
    const { landed, ...staged } = await stage(request, size, body);
    if (!landed) return leave(request, userId, admission, body, staged);
    await reach('upload.synced');
    const one = { request: { ...request, facts: toReceived(size, landed) }, admission, trying: null };
    const outcome = await commit(one, landed.content);
    if (outcome.imageId === request.imageId && outcome.offset === size) await reach('upload.committed');
    return outcome;
  };

  return {
    async receive(request, userId, body) {
      const { size, imageId } = request;
      if (size === null || body.headers['content-length'] !== `${size}`) return null;
      arriving.add(imageId);
      let left = false;
      try {
        const outcome = await receive(request, userId, body, size);
        left = outcome !== null && 'claim' in outcome;
        return outcome;
      } finally {
        if (!left) arriving.delete(imageId);
      }
    },
    async settle(imageId) {
      const one = uncommitted.get(imageId);
      if (one) await commit(one);
      if (uncommitted.has(imageId) || arriving.has(imageId))
        throw new HoplaError('upload-uncommitted', undefined, { retryAfterMs: 1000 });
    },
    async isComing(imageId, signal = AbortSignal.timeout(ASK_MS)) {
      if (arriving.has(imageId) || uncommitted.has(imageId)) return true;
      return peers.askAll(imageId, signal).then(
        () => false,
        () => true,
      );
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}
