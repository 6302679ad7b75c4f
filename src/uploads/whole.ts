import type { IncomingMessage } from 'node:http';
import { HoplaError } from '../errors.ts';
import { claimPlace, type PlaceRequest } from '../tickets/claim.ts';
import type { ReceivedFacts } from '../tickets/receive.ts';
import { gatherBody } from './append.ts';
import { type Admission, admit, type Creation, type CreationDeps, knownOffset, OFFSET_STREAM } from './creation.ts';
import { type FinishDeps, logReceived, toReceived } from './finish.ts';
import type { Peers } from './peers.ts';
import { byteLength } from './pieces.ts';

/** Larger images take a place before their bytes come in: they are worth a second transaction, and too large for memory. */
const MOST_BYTES = 512 * 1024;
const RETRY_MS = 1_000;
/** How long another process may take to say whether it has an image in mind, in milliseconds. */
const ASK_MS = 5_000;

export type WholeDeps = FinishDeps & CreationDeps & { peers: Pick<Peers, 'askAll'> };

/** Which upload the client has now, and where it stands: below its size for as long as it is not committed. */
export type Landed = { imageId: string; offset: number };

/**
 * Small images that come whole with their creation: one transaction takes the place and receives the image, where others
 * need two. Nothing of them is in the database before; so what cannot be committed at once is kept in mind here, and its
 * client is told to come back to it.
 */
export type Wholes = {
  /**
   * Receives an image whose bytes are all at hand. Null, with nothing changed, when it has to go the long way: not
   * acceptable, no room, a failing disk. Throws what `claimPlace` throws.
   */
  receive(request: PlaceRequest, userId: string, pieces: Buffer[]): Promise<Landed | null>;
  /** Tries again to commit what could not be committed; throws 423 `upload-uncommitted` while that is so. */
  settle(imageId: string): Promise<void>;
  /**
   * Whether a staged file without a row belongs to an image that some process has in mind: then it may get its row at any
   * moment. When that is not so, the database has to be asked once more, as it may have got it just now.
   */
  isComing(imageId: string, signal?: AbortSignal): Promise<boolean>;
  close(): void;
};

/** The bytes of a creation's body that come without a pause, if it may be a whole small image. */
export async function gatherWhole(body: IncomingMessage, { size }: Creation): Promise<Buffer[]> {
  const { headers } = body;
  const whole = size !== null && size <= MOST_BYTES && headers['content-length'] === `${size}`;
  return whole && headers['content-type'] === OFFSET_STREAM ? gatherBody(body, size) : [];
}

/** A durable image without a row; what it holds of the staging area stays its own. */
type Uncommitted = {
  request: PlaceRequest & { facts: ReceivedFacts };
  admission: Admission;
  trying: Promise<Landed> | null;
};

export function createWholes(deps: WholeDeps): Wholes {
  const { db, staging, intake, arrivals, peers, log, reach } = deps;
  /** On their way through `receive`, and those that it had to leave uncommitted. */
  const arriving = new Set<string>();
  const uncommitted = new Map<string, Uncommitted>();
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  /** The image, durable and looked at; null when it cannot be had. */
  const land = async ({ imageId, expectedSha256 }: PlaceRequest, pieces: Buffer[], size: number) => {
    try {
      const facts = await intake.land(imageId, size, pieces);
      return expectedSha256 === null || expectedSha256 === facts.sha256 ? toReceived(size, facts) : null;
    } catch (error) {
      log.debug({ err: error, imageId }, 'a whole image goes the long way');
      return null;
    }
  };

  const discard = async ({ imageId }: PlaceRequest, admission: Admission) => {
    uncommitted.delete(imageId);
    await staging.remove(imageId).finally(admission.withdraw);
  };

  /**
   * One try at a time: of two, one could find no place and remove the file, for which the other is just given a place that
   * became free.
   */
  const commit = (one: Uncommitted): Promise<Landed> => {
    one.trying ??= attempt(one).finally(() => {
      one.trying = null;
    });
    return one.trying;
  };

  const attempt = async (one: Uncommitted): Promise<Landed> => {
    const { request, admission } = one;
    const { imageId, ticketId, facts } = request;
    try {
      const { image } = await claimPlace(db, arrivals.takePlace, request);
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

  const receive = async (request: PlaceRequest, userId: string, pieces: Buffer[], size: number) => {
    const admission = await admit(deps, request, userId).catch(() => null);
    if (!admission) return null;
    const facts = await land(request, pieces, size);
    if (!facts) {
      await discard(request, admission);
      return null;
    }
    await reach('upload.synced');
    const landed = await commit({ request: { ...request, facts }, admission, trying: null });
    if (landed.imageId === request.imageId && landed.offset === size) await reach('upload.committed');
    return landed;
  };

  return {
    async receive(request, userId, pieces) {
      const { size, imageId } = request;
      if (size === null || byteLength(pieces) !== size) return null;
      arriving.add(imageId);
      try {
        return await receive(request, userId, pieces, size);
      } finally {
        arriving.delete(imageId);
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
