import { refuse } from './answer.ts';
import type { AssetName } from './assets.ts';
import { type Call, meetFault } from './call.ts';
import { conduct } from './conduct.ts';

/** GET or HEAD /:cloud/:resource_type/:type/[v123/]public_id[.ext]: the stored bytes, never a transformation. */
export async function deliver(call: Call, name: AssetName): Promise<void> {
  const named = await resolveName(call, name);
  meetFault(call, 'delivery', named.publicId);
  await conduct(call, async () => {
    const found = await call.sandbox.assets.read(named);
    if (found === null) return refuse(404, `Resource not found - ${name.publicId}`);
    const { asset, file, bytes } = found;
    const headers = {
      'Content-Type':
        asset.image === null
          ? 'application/octet-stream'
          : `image/${asset.image.format === 'jpg' ? 'jpeg' : asset.image.format}`,
      ETag: `"${asset.md5}"`,
      'Last-Modified': new Date(asset.version * 1000).toUTCString(),
      'Access-Control-Allow-Origin': '*',
      'X-Content-Type-Options': 'nosniff',
    };
    return { status: 200, headers, file, bytes };
  });
}

/**
 * The asset meant by a name with an extension, which may be part of the public id or say the format. Another format
 * than the asset's own asks Cloudinary to convert; the sandbox has no such asset.
 */
async function resolveName({ sandbox }: Call, name: AssetName): Promise<AssetName> {
  const [, publicId, extension = ''] = /^(.+)\.(\w+)$/.exec(name.publicId) ?? [];
  if (publicId === undefined || (await sandbox.assets.find(name)) !== null) return name;
  const format = extension
    .toLowerCase()
    .replace(/^jpeg$/, 'jpg')
    .replace(/^tif$/, 'tiff');
  const asset = await sandbox.assets.find({ ...name, publicId });
  return asset?.image?.format === format ? { ...name, publicId } : name;
}
