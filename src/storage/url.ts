import { parseCloudinaryUrl } from './cloudinary/account.ts';

/**
 * Checks the address of a store without loading its SDK. Throws a TypeError that names what is wrong and shows nothing of
 * the address, which is a secret.
 */
export function assertStorageUrl(text: string): void {
  const protocol = URL.parse(text)?.protocol;
  if (protocol !== 'cloudinary:') throw new TypeError('must be cloudinary://KEY:SECRET@CLOUD');
  parseCloudinaryUrl(text);
}
