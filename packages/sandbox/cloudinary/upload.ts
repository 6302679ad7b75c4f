import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { rm, truncate } from 'node:fs/promises';
import { basename, parse } from 'node:path';
import { type Answer, refuse } from './answer.ts';
import { uploadFields } from './asset-fields.ts';
import type { NewAsset } from './assets.ts';
import { type Call, meetFault } from './call.ts';
import { conduct, overtake } from './conduct.ts';
import type { Fault } from './faults.ts';
import { type Fields, type ReceivedFile, receiveForm } from './form.ts';
import type { ImageInfo } from './image-format.ts';
import { mediaLimits, refuseLarge } from './media-limits.ts';
import { send } from './send.ts';
import { refuseUnsigned } from './signature.ts';

export type UploadType = 'image' | 'auto' | 'raw';

/** POST /v1_1/:cloud/:resource_type/upload, https://cloudinary.com/documentation/image_upload_api_reference#upload */
export async function upload(call: Call, uploadType: UploadType): Promise<void> {
  const path = call.sandbox.assets.temporaryPath();
  const randomId = randomBytes(15)
    .toString('base64url')
    .toLowerCase()
    .replace(/[^a-z0-9]/g, 'x');
  const meet = (fields: Fields) =>
    meetFault(call, 'upload', publicIdOf(fields, randomId), { overwrite: overwrites(fields) });
  try {
    const reception = await receiveForm(call.req, {
      path,
      onFile: (fields) => bodyOrder(meet(fields)),
      onBytes: (bytes) => call.line?.set({ bytes }),
    });
    switch (reception.outcome) {
      case 'gone':
        return call.line?.end();
      case 'malformed':
        meet(new Map());
        call.req.resume();
        return await send(call, refuse(400, reception.message));
      case 'unread':
      case 'cut':
        return await overtake(call);
    }
    const { fields, file } = reception;
    meet(fields);
    call.line?.set({ md5: file?.md5 ?? null });
    await conduct(call, () => accept(call, uploadType, fields, publicIdOf(fields, randomId), file));
  } finally {
    await rm(path, { force: true });
  }
}

function bodyOrder(fault: Fault | null): 'read' | 'leave' | number {
  if (fault?.kind === 'not-reading' || fault?.kind === 'early-answer') return 'leave';
  return fault?.kind === 'reset-at-byte' ? fault.byte : 'read';
}

/** A `folder` comes before the public id; without one Cloudinary makes up twenty characters. */
function publicIdOf(fields: Fields, randomId: string): string {
  const publicId = fields.get('public_id') || randomId;
  const folder = fields.get('folder');
  return folder ? `${folder}/${publicId}` : publicId;
}

/** The SDK sends booleans as 0 and 1, others as words. Without a word a signed upload overwrites. */
function overwrites(fields: Fields): boolean {
  return !['0', 'false'].includes(fields.get('overwrite') ?? '');
}

async function accept(
  call: Call,
  uploadType: UploadType,
  fields: Fields,
  publicId: string,
  file: ReceivedFile | null,
): Promise<Answer> {
  const { sandbox, fault } = call;
  const refusal = refuseUnsigned(fields, sandbox.account, sandbox.now());
  if (refusal !== null) return refusal;
  if (!isPublicId(publicId)) return refuse(400, `public_id (${publicId}) is invalid`);
  if (file === null) return refuse(400, 'Missing required parameter - file');
  if (file.bytes === 0) return refuse(400, 'Empty file');
  const image = uploadType === 'raw' ? null : await sandbox.readImageInfo(file.path);
  if (image === null && uploadType === 'image') return refuse(400, 'Invalid image file');
  const tooLarge = refuseLarge({ bytes: file.bytes, image }, mediaLimits(fault));
  if (tooLarge !== null) return tooLarge;

  let { bytes, md5 } = file;
  if (fault?.kind === 'truncated-copy' && fault.bytes < file.bytes) {
    await truncate(file.path, fault.bytes);
    if (fault.reports === 'truncated') [bytes, md5] = [fault.bytes, await md5Of(file.path)];
  }
  const overwrite = overwrites(fields);
  const described = describe(fields, publicId, file, image);
  const stored = await sandbox.assets.store({ ...described, bytes, md5 }, file.path, {
    overwrite,
    nowMs: sandbox.now(),
  });
  const existing = stored.existed && !overwrite;
  call.line?.set({ existing, stored: !existing });

  const answer = uploadFields(stored.asset, sandbox);
  if (!overwrite) answer.existing = existing;
  if (stored.existed && overwrite) answer.overwritten = true;
  if (fault?.kind === 'wrong-etag') answer.etag = fault.etag ?? createHash('md5').update(`not ${md5}`).digest('hex');
  return { status: 200, json: answer };
}

function describe(fields: Fields, publicId: string, file: ReceivedFile, image: ImageInfo | null): NewAsset {
  const filename = fields.get('filename_override') || file.filename || 'file';
  const folder = publicId.includes('/') ? publicId.slice(0, publicId.lastIndexOf('/')) : '';
  return {
    resourceType: image === null ? 'raw' : 'image',
    type: fields.get('type') || 'upload',
    publicId,
    bytes: file.bytes,
    md5: file.md5,
    image,
    originalFilename: parse(filename).name,
    assetFolder: fields.get('asset_folder') ?? folder,
    displayName: fields.get('display_name') || basename(publicId),
    tags: (fields.get('tags') ?? '')
      .split(',')
      .map((tag) => tag.trim())
      .filter((tag) => tag !== ''),
    context: contextOf(fields.get('context') ?? ''),
  };
}

/** `a=1|b=2`, where the SDK writes `|` and `=` inside a value with a backslash. */
function contextOf(text: string): Record<string, string> {
  const pairs = text.match(/(?:\\.|[^|\\])+/gs) ?? [];
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, key = pair, value = ''] = /^((?:\\.|[^=\\])*)=(.*)$/s.exec(pair) ?? [];
      return [key, value].map((part) => part.replace(/\\(.)/gs, '$1')) as [string, string];
    }),
  );
}

/** https://support.cloudinary.com/hc/en-us/articles/115001317409: no `? & # \ % < > +`, no outer slash, 255 characters. */
function isPublicId(publicId: string): boolean {
  return publicId.length <= 255 && !/[?&#\\%<>+]|^\/|\/$|^\s|\s$|\/\//.test(publicId);
}

async function md5Of(path: string): Promise<string> {
  const md5 = createHash('md5');
  for await (const chunk of createReadStream(path)) md5.update(chunk as Buffer);
  return md5.digest('hex');
}
