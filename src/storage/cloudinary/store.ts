import { type FileHandle, open } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { v2 as cloudinary } from 'cloudinary';
import { HoplaError } from '../../model/errors.ts';
import { displayName } from '../display-name.ts';
import { createFileSender } from '../file-sender.ts';
import type { Put, PutOptions, StagedImage, Storage } from '../port.ts';
import { imageOriginsOf, parseCloudinaryUrl } from './account.ts';
import { type Answer, type Call, type Exchange, prepareExchange } from './http-exchange.ts';
import { clockOf, holds, isPong, isRemoved, readAssetOf, readLimits, receiptOf, refusal } from './responses.ts';

export type CloudinaryOptions = {
  /** `cloudinary://KEY:SECRET@CLOUD`, with `?upload_prefix=http://…` for a server other than Cloudinary's own. */
  cloudinaryUrl: string;
  /** Folder of the stored images, with or without slashes around it; may be empty. */
  folder: string;
  /** Connections at once. A put beyond that waits for one. */
  maxSockets: number;
  /** The slowest rate at which an image may be sent. */
  minBytesPerSecond: number;
  /** What connecting, processing and answering may take, on top of the sending. */
  answerTimeoutMs: number;
  /** The longest silence of a connection, in use or kept for the next image. */
  idleTimeoutMs: number;
  now?: () => number;
};

/**
 * Images go to Cloudinary, streamed by its SDK, under the fixed public id `<folder>/<image id>`. Throws a TypeError when
 * the URL is not one. See `Storage` for the failures; nothing here is tried again over time, that is the queue's work.
 */
export function createCloudinaryStorage(options: CloudinaryOptions): Storage {
  const { folder, minBytesPerSecond, answerTimeoutMs, idleTimeoutMs, now = Date.now } = options;
  const account = parseCloudinaryUrl(options.cloudinaryUrl);
  const { Agent } = account.upload_prefix.startsWith('http:') ? http : https;
  const agent = new Agent({ keepAlive: true, maxSockets: options.maxSockets, timeout: idleTimeoutMs });
  const sendFile = createFileSender(options.maxSockets);
  const common = { ...account, timeout: idleTimeoutMs, resource_type: 'image' as const, disable_promises: true };
  // The same for every try of an image, so that a repeat finds what an earlier one left.
  const keyOf = (imageId: string) => [...folder.split('/'), imageId].filter(Boolean).join('/');
  // How far Cloudinary's clock is ahead of ours, learned when it refuses a timestamp.
  let clockAheadMs = 0;

  const begin = (image: StagedImage, body: FileHandle | Buffer, overwrite: boolean): Exchange => {
    const filename = displayName(image.filename);
    return prepareExchange({
      agent,
      body: body instanceof Uint8Array ? body : (to, onProgress) => sendFile(body, to, onProgress),
      send: (agent, failed) =>
        // Never `filename`: the SDK writes it raw into a multipart header.
        cloudinary.uploader.upload_stream(
          {
            ...common,
            agent,
            public_id: keyOf(image.id),
            overwrite,
            ...(overwrite && { invalidate: true }),
            ...(filename !== null && { filename_override: filename }),
            timestamp: Math.floor((now() + clockAheadMs) / 1000),
          },
          failed,
        ),
    });
  };

  /** @param first the first attempt, when it is prepared */
  const upload = async (
    image: StagedImage,
    body: FileHandle | Buffer,
    overwrite: boolean,
    options: PutOptions,
    first = begin(image, body, overwrite),
  ) => {
    const limits = { ...options, deadlineMs: answerTimeoutMs + (image.bytes / minBytesPerSecond) * 1000 };
    const answer = await first(limits);
    const clock = clockOf(answer);
    if (clock === undefined) return readAssetOf(image, answer, now());
    clockAheadMs = clock - now();
    return readAssetOf(image, await begin(image, body, overwrite)(limits), now());
  };

  const store = async (
    image: StagedImage,
    body: FileHandle | Buffer,
    { signal, onProgress }: PutOptions,
    first?: Exchange,
  ) => {
    const put = { signal, ...(onProgress && { onProgress: onlyForward(onProgress) }) };
    let asset = await upload(image, body, false, put, first);
    if (asset.existing && !holds(asset, image)) asset = await upload(image, body, true, put);
    if (holds(asset, image)) return receiptOf(asset);
    const detail = `Cloudinary holds ${asset.bytes} bytes with md5 ${asset.etag} instead of ${image.bytes} with ${image.md5}`;
    throw new HoplaError('storage-mismatch', detail);
  };

  const ask = (send: Call['send'], signal: AbortSignal): Promise<Answer> =>
    prepareExchange({ send, agent })({ deadlineMs: answerTimeoutMs, signal });

  return {
    imageOrigins: imageOriginsOf(account),
    keyOf,
    prepare(image): Put {
      const { content } = image;
      if (content?.length === image.bytes) {
        const first = begin(image, content, false);
        return (options) => store(image, content, options, first);
      }
      return async (options) => {
        await using file = await openStaged(image);
        return await store(image, file, options);
      };
    },
    async remove(key, signal) {
      // The SDK dates this call itself: of all calls it alone fails for as long as our clock is an hour wrong.
      const answer = await ask((agent, failed) => {
        const removal = { ...common, agent, invalidate: true };
        return cloudinary.uploader.destroy(key, removal, failed);
      }, signal);
      if (!isRemoved(answer)) throw refusal(answer, now());
    },
    async check(signal) {
      const answer = await ask((agent, failed) => cloudinary.api.ping({ ...common, agent }, failed), signal);
      if (!isPong(answer)) throw refusal(answer, now());
    },
    async limits(signal) {
      const answer = await ask((agent) => cloudinary.api.usage({ ...common, agent }), signal);
      return readLimits(answer, now());
    },
    close: () => agent.destroy(),
  };
}

/** Opens the staged file and makes sure that it still has all its bytes. */
async function openStaged(image: StagedImage): Promise<FileHandle> {
  const file = await open(image.path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') throw new HoplaError('staged-file-lost', undefined, { cause });
    throw new HoplaError('storage-unavailable', `The staged file cannot be opened: ${cause.code}`, { cause });
  });
  try {
    const { size } = await file.stat();
    if (size === image.bytes) return file;
    throw new HoplaError('staged-file-lost', `The staged file has ${size} bytes instead of ${image.bytes}`);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A second sending of the same file starts from zero again, which is nothing to tell a person who watches. */
function onlyForward(onProgress: (bytes: number) => void): (bytes: number) => void {
  let furthest = 0;
  return (bytes) => {
    if (bytes <= furthest) return;
    furthest = bytes;
    onProgress(bytes);
  };
}
