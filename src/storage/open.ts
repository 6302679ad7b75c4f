import type { Config } from '../config.ts';
import { type CloudinaryStorage, createCloudinaryStorage } from './cloudinary/store.ts';

/** The storage at `cloudinaryUrl`, with the limits that the settings give it and `maxSockets` connections at once. */
export function openStorage(config: Config, cloudinaryUrl: string, maxSockets: number): CloudinaryStorage {
  const timeoutMs = config.TRANSFER_TIMEOUT_SECONDS * 1000;
  return createCloudinaryStorage({
    cloudinaryUrl,
    folder: config.CLOUDINARY_FOLDER,
    maxSockets,
    minBytesPerSecond: config.TRANSFER_MIN_BYTES_PER_SECOND,
    answerTimeoutMs: timeoutMs,
    idleTimeoutMs: timeoutMs,
  });
}
