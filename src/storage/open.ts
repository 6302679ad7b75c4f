import { createCloudinaryStorage } from './cloudinary/store.ts';
import type { Storage } from './port.ts';

/** The settings that every store takes, by their names in the environment. */
export type StorageSettings = {
  CLOUDINARY_FOLDER: string;
  TRANSFER_TIMEOUT_SECONDS: number;
  TRANSFER_MIN_BYTES_PER_SECOND: number;
};

/**
 * Opens the store of an address with `maxSockets` connections at once. Throws a TypeError when no store has such an address
 * (see `assertStorageUrl`).
 */
export function openStorage(settings: StorageSettings, url: string, maxSockets: number): Storage {
  const timeoutMs = settings.TRANSFER_TIMEOUT_SECONDS * 1000;
  return createCloudinaryStorage({
    cloudinaryUrl: url,
    folder: settings.CLOUDINARY_FOLDER,
    maxSockets,
    minBytesPerSecond: settings.TRANSFER_MIN_BYTES_PER_SECOND,
    answerTimeoutMs: timeoutMs,
    idleTimeoutMs: timeoutMs,
  });
}
