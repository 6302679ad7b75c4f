import { z } from 'zod';
import { HoplaError } from '../../model/errors.ts';
import type { Receipt, StagedImage, StoreLimits } from '../port.ts';
import type { Answer } from './http-exchange.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** More than any file that an upload by one request may have, and more than any image is wide. */
const MAX_BYTES = 2 ** 40;
const MAX_SIDE = 2 ** 31 - 1;
const MAX_URL_LENGTH = 2048;

/** Text that a database takes and a terminal shows: on one line, and well-formed. */
const text = (maxLength: number) =>
  z
    .string()
    .min(1)
    .max(maxLength)
    .refine((value) => value.isWellFormed() && !/\p{Cc}/u.test(value), 'has characters that no text has');
const side = z.int().min(1).max(MAX_SIDE);
const webAddress = text(MAX_URL_LENGTH).transform((value, context) => {
  const url = URL.parse(value);
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password && url.href.length <= MAX_URL_LENGTH)
    return url.href;
  context.addIssue({ code: 'custom', message: 'is no address of a web page' });
  return z.NEVER;
});

// What we decide by is required; what is only shown may be missing or odd without costing the image.
const assetSchema = z.object({
  public_id: text(1024),
  bytes: z.int().min(0).max(MAX_BYTES),
  etag: text(128),
  secure_url: webAddress,
  asset_id: text(255).nullable().catch(null),
  version: z
    .union([text(64), z.int().min(0).transform(String)])
    .nullable()
    .catch(null),
  width: side.nullable().catch(null),
  height: side.nullable().catch(null),
  format: text(32).nullable().catch(null),
  existing: z.boolean().catch(false),
});

/** An asset as Cloudinary describes it. `existing` says that it was there before and was left as it was. */
export type Asset = z.output<typeof assetSchema>;

/**
 * The asset of an upload's answer. Throws `storage-mismatch` for that of another image: a cache or a proxy may mix answers
 * up, and with the key of an image of the same bytes in our records, the deletion of one would take the other away. The preset
 * of an account may put a folder before the key.
 */
export function readAssetOf(image: Pick<StagedImage, 'id'>, answer: Answer, nowMs: number): Asset {
  const asset = readAsset(answer, nowMs);
  if (asset.public_id.endsWith(image.id)) return asset;
  throw new HoplaError('storage-mismatch', `Cloudinary answered about another asset, ${asset.public_id}`);
}

/** The asset of an answer. Throws what `refusal` makes of any other answer. */
function readAsset(answer: Answer, nowMs: number): Asset {
  if (answer.status !== 200) throw refusal(answer, nowMs);
  const result = assetSchema.safeParse(json(answer));
  if (result.success) return result.data;
  const odd = new Set(result.error.issues.map(({ path }) => path.join('.') || 'everything'));
  throw new HoplaError('storage-unavailable', `Cloudinary answered 200 with something odd: ${[...odd].join(', ')}`);
}

/** Whether the asset has exactly our bytes: Cloudinary's etag is the md5 of what it stored. */
export function holds(asset: Asset, image: StagedImage): boolean {
  return asset.bytes === image.bytes && asset.etag.toLowerCase() === image.md5;
}

export function receiptOf(asset: Asset): Receipt {
  return {
    provider: 'cloudinary',
    key: asset.public_id,
    assetId: asset.asset_id,
    version: asset.version,
    url: asset.secure_url,
    bytes: asset.bytes,
    md5: asset.etag.toLowerCase(),
    width: asset.width,
    height: asset.height,
    format: asset.format,
  };
}

const resultSchema = z.object({ result: z.enum(['ok', 'not found']) });
const pingSchema = z.object({ status: z.literal('ok') });

/** Whether a `destroy` left no such asset behind. */
export const isRemoved = (answer: Answer) => answer.status === 200 && resultSchema.safeParse(json(answer)).success;

/** Whether a `ping` was answered by Cloudinary itself. */
export const isPong = (answer: Answer) => answer.status === 200 && pingSchema.safeParse(json(answer)).success;

const limit = z.int().positive().nullable().catch(null);
const usageSchema = z.object({ media_limits: z.object({ image_max_size_bytes: limit, image_max_px: limit }) });

/** What `usage` says of the account's limits. Throws what `refusal` makes of any other answer. */
export function readLimits(answer: Answer, nowMs: number): StoreLimits {
  const result = usageSchema.safeParse(answer.status === 200 ? json(answer) : undefined);
  if (!result.success) throw refusal(answer, nowMs);
  const { image_max_size_bytes: bytes, image_max_px: pixels } = result.data.media_limits;
  return { bytes, pixels };
}

/** Milliseconds of the server's clock when it refused our timestamp; undefined for every other answer. */
export function clockOf(answer: Answer): number | undefined {
  if (answer.status !== 400 || !/^stale request/i.test(messageOf(answer) ?? '')) return undefined;
  return dateOf(answer.headers.date);
}

// 400 says many things. Only what speaks of the file itself stays true when the same request is made again: "Missing
// required parameter - file", for one, is what a body garbled on its way looks like. What follows from it is no more than who
// is asked first, a person or the store: the image is kept either way.
const ABOUT_FILE = /\b(file|image|video|format|resource)\b/i;
const FOR_GOOD = /\b(invalid|empty|unsupported|corrupt|not supported|not allowed|too large|maximum)\b/i;

/** The error an unsuccessful answer stands for. Anything not understood is `storage-unavailable`, to be tried again. */
export function refusal(answer: Answer, nowMs: number): HoplaError {
  const { status } = answer;
  const message = messageOf(answer);
  const detail = `Cloudinary answered ${status}${message === undefined ? '' : `: ${message}`}`;
  if (status === 401 || status === 403 || status === 404) return new HoplaError('storage-misconfigured', detail);
  const permanent = status === 400 && message !== undefined && ABOUT_FILE.test(message) && FOR_GOOD.test(message);
  if (permanent || status === 413) return new HoplaError('storage-refused', detail);
  const retryAfterMs = retryAfterOf(answer, nowMs);
  return new HoplaError('storage-unavailable', detail, retryAfterMs === undefined ? {} : { retryAfterMs });
}

/**
 * RFC 9110 section 10.2.3: seconds or an HTTP date, which is compared with the answer's own Date rather than with our
 * clock. At most a day: the number is somebody else's. 420 without it says when the hourly budget is renewed.
 */
function retryAfterOf({ headers }: Answer, nowMs: number): number | undefined {
  const text = headers['retry-after'] ?? headers['x-featureratelimit-reset']?.toString();
  if (text === undefined) return undefined;
  const until = dateOf(text);
  const ms = /^\s*\d+\s*$/.test(text) ? Number(text) * 1000 : until && until - (dateOf(headers.date) ?? nowMs);
  return ms === undefined ? undefined : Math.min(Math.max(ms, 0), DAY_MS);
}

function dateOf(text: string | undefined): number | undefined {
  const ms = Date.parse(text ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** Cloudinary's own words, shortened to one line; undefined when the answer is not in Cloudinary's form. */
function messageOf(answer: Answer): string | undefined {
  const result = errorSchema.safeParse(json(answer));
  return result.success
    ? result.data.error.message
        .replace(/[\s\p{Cc}]+/gu, ' ')
        .slice(0, 300)
        .toWellFormed()
    : undefined;
}

function json({ body }: Answer): unknown {
  try {
    return JSON.parse(body);
  } catch {
    // Not JSON: a proxy's page, or a broken answer. No schema takes undefined.
    return undefined;
  }
}
