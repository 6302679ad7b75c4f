import { type Answer, refuse } from './answer.ts';
import type { Asset } from './assets.ts';
import type { Fault } from './faults.ts';

/** `media_limits` in the answer of GET /usage, https://cloudinary.com/documentation/admin_api#get_product_environment_usage_details */
type MediaLimits = {
  image_max_size_bytes: number;
  video_max_size_bytes: number;
  raw_max_size_bytes: number;
  image_max_px: number;
  asset_max_total_px: number;
};

/** The sandbox takes whatever hopla takes; only a fault gives it the limits of a plan. */
const unlimited: MediaLimits = {
  image_max_size_bytes: 1024 ** 4,
  video_max_size_bytes: 1024 ** 4,
  raw_max_size_bytes: 1024 ** 4,
  image_max_px: 1e12,
  asset_max_total_px: 1e12,
};

/** The limits under which a call runs: those of the fault that struck it, where it has any. */
export function mediaLimits(fault: Fault | null): MediaLimits {
  if (fault?.kind !== 'media-limits') return unlimited;
  const { kind, ...set } = fault;
  const given = Object.entries(set).filter(([, value]) => value !== undefined);
  return { ...unlimited, ...Object.fromEntries(given) };
}

/**
 * Cloudinary's refusal of an asset that is larger than the plan allows; null where it is not. A real account words the
 * refusal of pixels like this where an upload asks for a transformation, and stores such an image otherwise.
 */
export function refuseLarge({ bytes, image }: Pick<Asset, 'bytes' | 'image'>, limits: MediaLimits): Answer | null {
  const maxBytes = image === null ? limits.raw_max_size_bytes : limits.image_max_size_bytes;
  if (bytes > maxBytes) return refuse(400, `File size too large. Got ${bytes}. Maximum is ${maxBytes}. ${upgrade}`);
  const pixels = (image?.width ?? 0) * (image?.height ?? 0);
  // The sandbox does not count frames: the pixels of the first stand for the whole asset.
  const bounds = [
    { what: 'image size', max: limits.image_max_px },
    { what: 'total number of pixels in all frames/pages', max: limits.asset_max_total_px },
  ];
  const passed = bounds.find(({ max }) => pixels > max);
  if (passed === undefined) return null;
  return refuse(400, `Maximum ${passed.what} is ${megapixels(passed.max)}. Requested ${megapixels(pixels)}`);
}

const upgrade = 'Upgrade your plan to enjoy higher limits https://www.cloudinary.com/pricing/upgrades/file-limit';

function megapixels(pixels: number): string {
  return `${Number((pixels / 1e6).toFixed(2))} Megapixels`;
}
