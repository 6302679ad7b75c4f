import type { Peers } from '../../cluster/membership-unix.ts';
import type { Hub } from '../../events/types.ts';
import { BoundedMap } from '../../runtime/bounded-map.ts';
import { createGate } from '../../runtime/semaphore.ts';
import type { Staging } from '../../staging/local/folder.ts';
import type { OffsetOf } from '../../tickets/view.ts';

/**
 * Where unfinished uploads stand, for those who show it: known from what is written here, and from the progress that other
 * processes announce. The disk is asked only for an upload that nothing is known of.
 */
export type Offsets = {
  /** Bytes of an unfinished upload that are in its staged file. */
  of: OffsetOf;
  /** Notes that the bytes before `offset` are in the file. Of two writes the further one counts, whichever ends first. */
  wrote(imageId: string, offset: number): void;
  /** Notes where an upload stands after a request of this process, which holds it. */
  keep(imageId: string, offset: number): void;
  /** The file was cut or removed, a write failed halfway, or another process goes on with the upload. */
  forget(imageId: string): void;
  close(): void;
};

export type OffsetsDeps = {
  staging: Pick<Staging, 'id' | 'sizeOf'>;
  hub: Pick<Hub, 'watch'>;
  peers: Pick<Peers, 'alone' | 'onEnd'>;
};

/** `own` is an offset of this process' writes: nobody else writes to that file until `forget`. */
type Known = { offset: number; own: boolean; at: number };

/** About 150 bytes each. */
const KNOWN = 50_000;
/** Another process may lose an announcement, so what is not our own is believed for so long, in milliseconds. */
const BELIEVED_MS = 5_000;
/** The threads that look at files also write them: uploads are not to wait for a ticket of a thousand images. */
const LOOKS_AT_ONCE = 8;

export function createOffsets({ staging, hub, peers }: OffsetsDeps): Offsets {
  const known = new BoundedMap<string, Known>(KNOWN);
  const looking = new Map<string, Promise<number>>();
  const inGate = createGate(LOOKS_AT_ONCE);

  const forgetOthers = () => {
    for (const [imageId, { own }] of known) if (!own) known.delete(imageId);
  };
  const set = (imageId: string, offset: number, own: boolean) => {
    const one = known.get(imageId);
    const at = performance.now();
    // In place, as every piece of an image comes to this.
    if (!one) return void known.set(imageId, { offset, own, at });
    one.offset = offset;
    one.own = own;
    one.at = at;
  };
  const stopWatching = hub.watch({
    onImage({ imageId, status }) {
      if (status !== 'uploading') known.delete(imageId);
    },
    onProgress({ imageId, leg, bytes }, fromHere) {
      // What is told of our own writes is late, and may be of a file that was cut since.
      if (leg === 'upload' && !fromHere && !known.get(imageId)?.own) set(imageId, bytes, false);
    },
    onResync: forgetOthers,
  });
  const stopMourning = peers.onEnd(forgetOthers);

  const look = (imageId: string): Promise<number> => {
    const begun = looking.get(imageId);
    if (begun) return begun;
    const before = known.get(imageId)?.at;
    const found = inGate(() => staging.sizeOf(imageId))
      .then((size) => {
        const now = known.get(imageId);
        // What was written or announced meanwhile is newer than what the disk said.
        if (now && now.at !== before) return now.offset;
        set(imageId, size ?? 0, false);
        return size ?? 0;
      })
      .finally(() => looking.delete(imageId));
    looking.set(imageId, found);
    return found;
  };

  return {
    of({ id, staging: area }) {
      const one = known.get(id);
      const isHere = area === staging.id;
      const holds = one && (one.own || !isHere || peers.alone || performance.now() - one.at < BELIEVED_MS);
      if (holds) return one.offset;
      // The file is on another machine, and nothing was heard of it yet.
      return isHere ? look(id) : 0;
    },
    wrote(imageId, offset) {
      const one = known.get(imageId);
      set(imageId, one?.own ? Math.max(one.offset, offset) : offset, true);
    },
    keep: (imageId, offset) => set(imageId, offset, true),
    forget: (imageId) => void known.delete(imageId),
    close() {
      stopWatching();
      stopMourning();
    },
  };
}
