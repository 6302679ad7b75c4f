/** @import { Image, Progress } from './wire.d.ts' */
import { percentOf } from './format.js';

/**
 * How far a photo is. Only `delivered` is a success: nothing is green before.
 *
 * @typedef {{
 *   name: 'uploading' | 'received' | 'delivered' | 'rejected' | 'failed' | 'ended',
 *   upload: number,
 *   transfer: number,
 *   text: string,
 * }} Stage `upload` and `transfer` are percents of the two legs
 */

/**
 * @param {Image} image
 * @param {Progress | undefined} progress the newest of this image
 * @returns {Stage}
 */
export function stageOf(image, progress) {
  switch (image.status) {
    case 'uploading': {
      const bytes = Math.max(image.offset ?? 0, progress?.leg === 'upload' ? progress.bytes : 0);
      const upload = percentOf(bytes, image.size);
      return { name: 'uploading', upload, transfer: 0, text: `Uploading ${upload} %` };
    }
    case 'received': {
      const text = image.error
        ? 'Received and safe. The cloud did not take it just now; it is sent again by itself'
        : 'Received, waiting for its way to the cloud';
      return { name: 'received', upload: 100, transfer: 0, text };
    }
    case 'transferring': {
      const transfer = progress?.leg === 'transfer' ? percentOf(progress.bytes, progress.total) : 0;
      // All bytes sent is not yet delivered: that is said by the storage's receipt alone.
      const text =
        transfer === 100
          ? 'Sent to the cloud, waiting for its receipt'
          : `Received, on its way to the cloud ${transfer} %`;
      return { name: 'received', upload: 100, transfer, text };
    }
    case 'stored':
      return { name: 'delivered', upload: 100, transfer: 100, text: 'Delivered' };
    case 'failed':
      return { name: 'failed', upload: 100, transfer: 0, text: 'Received, but the cloud does not take it just now' };
    case 'rejected':
      return { name: 'rejected', upload: 0, transfer: 0, text: 'Not accepted' };
    case 'cancelled':
      return { name: 'ended', upload: 0, transfer: 0, text: 'Removed' };
    case 'expired':
      return { name: 'ended', upload: 0, transfer: 0, text: 'The time of the ticket ran out' };
  }
}

/**
 * The address of a small version of a stored image, for stores that make one.
 *
 * @param {string} url
 */
export function thumbnailOf(url) {
  const { hostname } = new URL(url, location.href);
  // Cloudinary scales while it delivers, and turns HEIC into what the browser can show.
  if (!hostname.endsWith('.cloudinary.com')) return url;
  return url.replace('/image/upload/', '/image/upload/c_limit,w_480,h_480,q_auto,f_auto/');
}
