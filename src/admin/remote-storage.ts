import type { Storage } from '../storage/port.ts';
import type { RemoteStorage } from './ticket-delete.ts';

/** Adds to a Cloudinary storage the keys that it gives its images, as storage/cloudinary.ts makes its public ids. */
export function withKeys<S extends Storage>(storage: S, folder: string): S & RemoteStorage {
  const keyOf = (imageId: string) => [...folder.split('/'), imageId].filter(Boolean).join('/');
  return { ...storage, keyOf };
}
