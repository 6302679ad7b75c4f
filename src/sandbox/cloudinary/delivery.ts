import type { AssetName } from './assets.ts';
import { type Call, conduct, meetFault, refuse } from './exchange.ts';

/** GET or HEAD /:cloud/:resource_type/:type/[v123/]public_id[.ext]: the stored bytes, never a transformation. */
export async function deliver(call: Call, name: AssetName): Promise<void> {
  meetFault(call, 'delivery', name.publicId);
  await conduct(call, async () => {
    const found = (await call.sandbox.assets.read(name)) ?? (await readWithoutExtension(call, name));
    if (found === null) return refuse(404, `Resource not found - ${name.publicId}`);
    const { asset, file, bytes } = found;
    const headers = {
      'Content-Type': asset.image === null ? 'application/octet-stream' : `image/${mimeNames[asset.image.format]}`,
      ETag: `"${asset.md5}"`,
      'Last-Modified': new Date(asset.version * 1000).toUTCString(),
      'Access-Control-Allow-Origin': '*',
      'X-Content-Type-Options': 'nosniff',
    };
    return { status: 200, headers, file, bytes };
  });
}

const mimeNames = {
  jpg: 'jpeg',
  png: 'png',
  gif: 'gif',
  webp: 'webp',
  avif: 'avif',
  heic: 'heic',
  tiff: 'tiff',
  bmp: 'bmp',
} as const;

/** Another extension than the asset's own asks Cloudinary to convert, which the sandbox does not. */
async function readWithoutExtension({ sandbox }: Call, name: AssetName) {
  const [, publicId, extension = ''] = /^(.+)\.(\w+)$/.exec(name.publicId) ?? [];
  if (publicId === undefined) return null;
  const asset = await sandbox.assets.find({ ...name, publicId });
  const format = extension
    .toLowerCase()
    .replace(/^jpeg$/, 'jpg')
    .replace(/^tif$/, 'tiff');
  return asset?.image?.format === format ? sandbox.assets.read({ ...name, publicId }) : null;
}
