/** Images of so many bytes at most are handed to the store whole. */
export const SMALL_BYTES = 256 * 1024;

/** One finished image in the staging area, to be put into the storage. */
export type StagedImage = {
  /** Image id (UUIDv7); the store derives its own fixed key from it, so that a repeat finds what an earlier try left. */
  id: string;
  ticketId: string;
  /** Absolute path of the staged file. */
  path: string;
  /** All its bytes, when they are `SMALL_BYTES` at most and were read before. */
  content: Buffer | null;
  /** Size in bytes, and lower-case hex md5 of exactly those bytes. */
  bytes: number;
  md5: string;
  /** The user's own name for the file: untrusted text, for display only. */
  filename: string | null;
  contentType: string | null;
};

/** The store's word that it holds an image; `bytes` and `md5` were compared with ours before it is handed out. */
export type Receipt = {
  provider: string;
  /** The name by which the store finds the asset again. */
  key: string;
  assetId: string | null;
  version: string | null;
  /** Where the stored image can be fetched. */
  url: string;
  bytes: number;
  md5: string;
  width: number | null;
  height: number | null;
  format: string | null;
};

export type PutOptions = { signal: AbortSignal; onProgress?: (bytes: number) => void };

/** Streams a file into the store, or adopts what is already there when its bytes and md5 match. May be called once. */
export type Put = (options: PutOptions) => Promise<Receipt>;

/** The largest image that a store takes, as it says itself; null where it does not say. */
export type StoreLimits = { bytes: number | null; pixels: number | null };

/**
 * Where images go. A store is safe to call again after any ending, success included.
 *
 * Failures are `HoplaError`s: `storage-refused` (this image is not taken, as things are), `storage-misconfigured` (account or
 * credentials: no image will be taken until a person acts), `storage-mismatch` (it holds other bytes; try again),
 * `staged-file-lost` (our own file is gone), `storage-unavailable` (everything else and every ambiguous end; with
 * `retryAfterMs` when the store said so).
 */
export interface Storage {
  /** Origins (`https://host`) from which stored images are fetched. Pages allow images of these alone. */
  readonly imageOrigins: readonly string[];
  /** The key that an image has or would have, stored or not. The same for every try. */
  keyOf(imageId: string): string;
  /** Does all that can be done before an image is sent. Nothing leaves before `Put` is called, and it need never be. */
  prepare(image: StagedImage): Put;
  /** Removes a stored asset; one that is not there is no error. */
  remove(key: string, signal: AbortSignal): Promise<void>;
  /** Resolves when the store answers and accepts our account. */
  check(signal: AbortSignal): Promise<void>;
  /** What the store takes of our account. */
  limits(signal: AbortSignal): Promise<StoreLimits>;
  /** Ends the connections. Twice without harm. */
  close(): void;
}
