import type { Asset } from './assets.ts';
import type { Sandbox } from './call.ts';
import { signAnswer } from './signature.ts';

/** The fields with which both the Upload API and the Admin API describe an asset. */
export function assetFields(asset: Asset, sandbox: Sandbox): Record<string, unknown> {
  const url = assetUrl(asset, sandbox);
  return {
    asset_id: asset.assetId,
    public_id: asset.publicId,
    version: asset.version,
    version_id: asset.versionId,
    ...(asset.image ?? {}),
    resource_type: asset.resourceType,
    created_at: asset.createdAt,
    tags: asset.tags,
    bytes: asset.bytes,
    type: asset.type,
    etag: asset.md5,
    placeholder: false,
    url,
    // Cloudinary's is https; here both lead to the same local server, so that either can be fetched.
    secure_url: url,
    asset_folder: asset.assetFolder,
    folder: asset.assetFolder,
    display_name: asset.displayName,
    ...(Object.keys(asset.context).length > 0 ? { context: { custom: asset.context } } : {}),
  };
}

/** The answer to an upload. */
export function uploadFields(asset: Asset, sandbox: Sandbox): Record<string, unknown> {
  const { apiKey, apiSecret } = sandbox.account;
  return {
    ...assetFields(asset, sandbox),
    signature: signAnswer(asset.publicId, asset.version, apiSecret),
    original_filename: asset.originalFilename,
    api_key: apiKey,
  };
}

export function assetUrl(asset: Asset, sandbox: Sandbox): string {
  const name = asset.publicId.split('/').map(encodeURIComponent).join('/');
  const extension = asset.image === null ? '' : `.${asset.image.format}`;
  const { cloudName } = sandbox.account;
  return `${sandbox.url()}/${cloudName}/${asset.resourceType}/${asset.type}/v${asset.version}/${name}${extension}`;
}
