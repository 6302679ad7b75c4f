import type { ImageFacts } from '../model/image-facts.ts';

/** The facts of an image that hopla knows once all its bytes are in. */
export type ReceivedFacts = ImageFacts & {
  /** Bytes. */
  size: number;
  /** File digest of all bytes, lower-case hex. */
  sha256: string;
};

/** An upload whose bytes are all in staging, and durable there. */
export type ReceivedImage = {
  imageId: string;
  ticketId: string;
  filename: string | null;
  facts: ReceivedFacts;
  /** All bytes of a small image, while they are in memory: the transfer then need not read the staged file. */
  content?: Buffer | null;
};

/** The facts under the names of their columns. */
export function receivedColumns({ contentType, displayWidth, displayHeight, ...facts }: ReceivedFacts) {
  return { ...facts, content_type: contentType, display_width: displayWidth, display_height: displayHeight };
}
