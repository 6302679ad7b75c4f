import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { StagedImage } from '../../src/storage/port.ts';

/** A GIF of 4 by 3 pixels, and behind its end noise up to as many bytes as asked. */
export function gif(bytes: number): Buffer {
  const frame = ',\0\0\0\0\x04\0\x03\0\0\x02\x01D\0;';
  const image = Buffer.from(`GIF89a\x04\0\x03\0\x80\0\0\0\0\0\xff\xff\xff${frame}`, 'latin1');
  return Buffer.concat([image, randomBytes(bytes - image.length)]);
}

/** A temporary staging directory. */
export async function createStaging() {
  const directory = await mkdtemp(join(tmpdir(), 'hopla-storage-'));
  return {
    directory,
    async stage(bytes: Buffer = gif(100_000), changes: Partial<StagedImage> = {}): Promise<StagedImage> {
      const id = randomUUID();
      const path = join(directory, id);
      await writeFile(path, bytes);
      const md5 = createHash('md5').update(bytes).digest('hex');
      const image = {
        id,
        ticketId: randomUUID(),
        path,
        bytes: bytes.length,
        md5,
        filename: 'photo.jpg',
        content: null,
      };
      return { ...image, contentType: 'image/jpeg', ...changes };
    },
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/** What Cloudinary answers about an image that it holds. */
export function assetOf(image: StagedImage): Record<string, unknown> {
  const { bytes, md5: etag } = image;
  const secure_url = `https://res.cloudinary.com/cloud/image/upload/v1/${image.id}.jpg`;
  return { asset_id: 'a1', public_id: `photos/${image.id}`, version: 1, bytes, etag, secure_url };
}
