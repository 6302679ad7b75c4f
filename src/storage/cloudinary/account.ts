import { z } from 'zod';

/** What the SDK needs in every call: given with the call, so that its process-wide configuration never matters. */
export type CloudinaryAccount = {
  cloud_name: string;
  api_key: string;
  api_secret: string;
  /** Scheme, host and port of the API, without a slash at the end. */
  upload_prefix: string;
  signature_algorithm: 'sha1' | 'sha256';
};

const required = z.string().min(1);
const accountSchema = z.object({
  cloud_name: required,
  api_key: required,
  api_secret: required,
  upload_prefix: z
    .url({ protocol: /^https?$/ })
    .transform((url) => url.replace(/\/+$/, ''))
    .default('https://api.cloudinary.com'),
  signature_algorithm: z.enum(['sha1', 'sha256']).default('sha1'),
});

/**
 * Parses `cloudinary://KEY:SECRET@CLOUD`, with `upload_prefix` and `signature_algorithm` as optional query parameters.
 * The SDK parses it too, but only from the environment, once, while it is imported. Throws a TypeError that names what
 * is wrong and shows nothing of the URL, which is a secret.
 */
export function parseCloudinaryUrl(text: string): CloudinaryAccount {
  const url = URL.parse(text);
  if (url?.protocol !== 'cloudinary:') throw new TypeError('The Cloudinary URL must be cloudinary://KEY:SECRET@CLOUD');
  const result = accountSchema.safeParse({
    ...Object.fromEntries(url.searchParams),
    cloud_name: url.hostname,
    // As the SDK does it: keys and secrets are letters and digits, nothing in them is percent-encoded.
    api_key: url.username,
    api_secret: url.password,
  });
  if (result.success) return result.data;
  const names = result.error.issues.map((issue) => issue.path.join('.')).join(', ');
  throw new TypeError(`The Cloudinary URL has a missing or invalid ${names}`);
}

/** Origins from which an account delivers images. */
export function imageOriginsOf({ cloud_name, upload_prefix }: CloudinaryAccount): string[] {
  const { hostname, origin } = new URL(upload_prefix);
  if (!/^api(-\w+)?\.cloudinary\.com$/.test(hostname)) return [origin];
  // https://cloudinary.com/documentation/advanced_url_delivery_options: shared, and private CDN distributions.
  return ['https://res.cloudinary.com', `https://${cloud_name}-res.cloudinary.com`];
}
