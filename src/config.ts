import { resolve } from 'node:path';
import { z } from 'zod';
import { formats, imageKinds, knownTypes } from './model/image-kinds.ts';
import { assertStorageUrl } from './storage/url.ts';

const MIB = 1024 * 1024;

/** A whole number written in decimal; `example` is shown when the value is not one. */
const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min, `must be at least ${min}`).max(max, `must be at most ${max}`));

/** A comma list with at least one item, each of which matches. */
const list = (item: RegExp, message: string) =>
  z
    .string()
    .transform((text) =>
      text
        .split(',')
        .map((part) => part.trim())
        .filter(Boolean),
    )
    .pipe(z.array(z.string().regex(item, message)).min(1, 'must have at least one item'));

const oneOf = <const V extends string>(...values: V[]) => z.enum(values, `must be one of ${values.join(', ')}`);
const flag = oneOf('true', 'false').transform((text) => text === 'true');
const url = (...protocols: string[]) =>
  z
    .string()
    .refine(
      (text) => protocols.includes(URL.parse(text)?.protocol ?? ''),
      `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
    );
const storageUrl = z.string().superRefine((text, context) => {
  try {
    assertStorageUrl(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: error instanceof Error ? error.message : 'is not valid' });
  }
});
/** What others are appended to: https://host/path, and nothing behind or inside that. */
const baseUrl = url('http:', 'https:')
  .refine((text) => {
    const { username, password, search, hash } = URL.parse(text) ?? {};
    return !(username || password || search || hash);
  }, 'must have no user, password, ? or #')
  .transform((text) => text.replace(/\/+$/, ''));

/** Sent in a header, and long enough that nobody guesses it. */
const secretText = z.string().regex(/^[\x21-\x7e]{16,200}$/, 'must be 16 to 200 characters without blanks');

/** Every type must be one that can be found by looking: no image would ever be of another. */
const acceptedTypes = list(/./, '').superRefine((types, context) => {
  const unknown = types.find((type) => !knownTypes.includes(type.toLowerCase()));
  if (unknown === undefined) return;
  const message = `has ${unknown}, which is no type that hopla can recognise; those are ${knownTypes.join(', ')}`;
  context.addIssue({ code: 'custom', message });
});

/** What browsers and picture programs show. */
const standardTypes = formats
  .map((format) => imageKinds[format].contentType)
  .filter((type) => !type.startsWith('image/x-'));

type Setting = { schema: z.ZodType; standard?: string; example: string; meaning: string; secret?: true };

/** Every setting: how it is checked, its default as one would write it, an example, and what it means. */
const settings = {
  PORT: {
    schema: whole(0, 65_535),
    standard: '8080',
    example: '8080',
    meaning: 'TCP port to listen on; 0 takes a free one',
  },
  HOST: {
    schema: z.string().min(1),
    standard: '127.0.0.1',
    example: '0.0.0.0',
    meaning: 'address to listen on; 0.0.0.0 is every interface',
  },
  PUBLIC_URL: {
    schema: baseUrl,
    example: 'https://uploads.example.com',
    meaning: 'base of every URL handed to clients; unset: taken from each request',
  },
  TRUST_PROXY: {
    schema: flag,
    standard: 'false',
    example: 'true',
    meaning: 'believe X-Forwarded-* from the one proxy in front',
  },
  ALLOWED_ORIGINS: {
    schema: list(/^(\*|https?:\/\/[^/?#@\s]+)$/, 'must be * or origins: a scheme and a host, and no path'),
    standard: '*',
    example: 'https://app.example.com,https://m.example.com',
    meaning: 'browser origins that may call (CORS), comma list',
  },
  DATABASE_URL: {
    schema: url('postgres:', 'postgresql:'),
    example: 'postgres://hopla:secret@db.example.com/hopla',
    meaning: 'Postgres 14 or newer; unset: an embedded one under DATA_DIR',
    secret: true,
  },
  DATABASE_POOL_SIZE: {
    schema: whole(2, 1000),
    standard: '10',
    example: '20',
    meaning: 'database connections of one process, the queue not counted',
  },
  CLOUDINARY_URL: {
    schema: storageUrl,
    example: 'cloudinary://KEY:SECRET@CLOUD',
    meaning: 'where images go; unset: a local sandbox under DATA_DIR',
    secret: true,
  },
  STORAGE_URL: {
    schema: storageUrl,
    example: 'cloudinary://KEY:SECRET@CLOUD',
    meaning: 'the same by a name for every kind of store; only one of the two may be set',
    secret: true,
  },
  CLOUDINARY_FOLDER: {
    schema: z.string().regex(/^[\w\-/]*$/, 'may have letters, digits, -, _ and /'),
    standard: 'hopla',
    example: 'photos/incoming',
    meaning: 'folder of the stored images',
  },
  DATA_DIR: {
    schema: z.string().min(1),
    standard: '.hopla',
    example: '/var/lib/hopla',
    meaning: 'folder for staging and the sandbox',
  },
  STAGING_DIR: {
    schema: z.string().min(1),
    example: '/var/spool/hopla',
    meaning: 'folder where images wait; unset: DATA_DIR/staging',
  },
  STAGING_BUDGET_BYTES: {
    schema: whole(MIB, Number.MAX_SAFE_INTEGER),
    standard: `${10 * 1024 * MIB}`,
    example: '107374182400',
    meaning: 'bytes that may wait in staging; more is refused with 507',
  },
  STAGING_FREE_BYTES: {
    schema: whole(0, Number.MAX_SAFE_INTEGER),
    standard: `${512 * MIB}`,
    example: '1073741824',
    meaning: 'bytes of the disk that staging leaves free',
  },
  QUARANTINE_HOURS: {
    schema: whole(0, 8760),
    example: '168',
    meaning:
      'how long a staged file is kept aside that no image in the database is known for; unset: until a person deletes it',
  },
  MAX_IMAGE_BYTES: {
    schema: whole(1, Number.MAX_SAFE_INTEGER),
    standard: `${50 * MIB}`,
    example: '104857600',
    meaning: 'largest image, in bytes',
  },
  MAX_IMAGE_PIXELS: {
    // A side of such an image fits a column of the database.
    schema: whole(1, 2 ** 31 - 1),
    standard: '250000000',
    example: '50000000',
    meaning: 'largest image, in pixels (width × height)',
  },
  ACCEPTED_TYPES: {
    schema: acceptedTypes,
    standard: standardTypes.join(),
    example: 'image/jpeg,image/png,image/x-adobe-dng',
    meaning:
      'accepted image types, found by looking at the bytes; raw files of cameras when named (image/x-adobe-dng, image/x-canon-cr3, …), all there are by image/*; */* accepts anything unseen',
  },
  UPLOAD_IDLE_SECONDS: {
    schema: whole(1, 86_400),
    standard: '60',
    example: '30',
    meaning: 'a request body without a byte for so long is ended (resumable)',
  },
  UPLOAD_MIN_BYTES_PER_SECOND: {
    schema: whole(0, Number.MAX_SAFE_INTEGER),
    standard: '500',
    example: '2000',
    meaning: 'a request body that is slower, over UPLOAD_IDLE_SECONDS, is ended (resumable); 0 waits for every byte',
  },
  TRANSFER_CONCURRENCY: {
    schema: whole(0, 256),
    standard: '4',
    example: '8',
    meaning: 'images sent to storage at once; 0 leaves that to other processes',
  },
  TRANSFER_ATTEMPTS: {
    schema: whole(1, 10_000),
    standard: '50',
    example: '10',
    meaning: 'tries per image before it is failed; an outage of the storage does not use them up',
  },
  TRANSFER_TIMEOUT_SECONDS: {
    schema: whole(1, 3600),
    standard: '60',
    example: '120',
    meaning: 'longest silence of the storage during one image',
  },
  TRANSFER_MIN_BYTES_PER_SECOND: {
    schema: whole(1, Number.MAX_SAFE_INTEGER),
    standard: '16384',
    example: '65536',
    meaning: 'slowest rate at which an image may go to storage',
  },
  MAX_CREATIONS_PER_MINUTE: {
    schema: whole(1, 1_000_000),
    standard: '600',
    example: '60',
    meaning:
      'tickets plus uploads that one user may create per minute; each upload token has as many uploads of its own',
  },
  MAX_OPEN_TICKETS: {
    schema: whole(1, 1_000_000),
    example: '1000',
    meaning: 'tickets that one user may have open, neither completed nor expired; unset: any number',
  },
  MAX_IMAGES_PER_DAY: {
    schema: whole(1, 1_000_000_000),
    example: '10000',
    meaning:
      'images that one user may begin in a day (UTC), but for those that end before they are received; unset: any number',
  },
  MAX_BYTES_IN_FLIGHT: {
    schema: whole(1, Number.MAX_SAFE_INTEGER),
    example: '1073741824',
    meaning: 'bytes of one user that may wait in staging; unset: a quarter of STAGING_BUDGET_BYTES',
  },
  MAX_TICKET_BYTES_IN_FLIGHT: {
    schema: whole(1, Number.MAX_SAFE_INTEGER),
    example: '536870912',
    meaning: 'bytes of one ticket that may wait in staging; unset: half of MAX_BYTES_IN_FLIGHT',
  },
  LOGIN_FAILURES_PER_MINUTE: {
    schema: whole(1, 1000),
    standard: '10',
    example: '5',
    meaning:
      'failed logins per minute of one user name from one address; 5 times as many from an address, 20 times for a name',
  },
  MAX_STREAMS_PER_TOKEN: {
    schema: whole(1, 1_000_000),
    standard: '200',
    example: '1000',
    meaning: 'event streams that one token may have open; more are refused with 429',
  },
  MAX_STREAMS_PER_USER: {
    schema: whole(1, 1_000_000),
    standard: '1000',
    example: '10000',
    meaning: 'event streams open for one user, those of the upload tokens of the user’s tickets included',
  },
  SESSION_HOURS: {
    schema: whole(1, 8760),
    standard: '168',
    example: '24',
    meaning: 'life of a token handed out by a login',
  },
  ALLOW_PUBLIC_SANDBOX: {
    schema: flag,
    standard: 'false',
    example: 'true',
    meaning: 'start beyond loopback (HOST) although DATABASE_URL or CLOUDINARY_URL is not set',
  },
  SANDBOX_CLOUDINARY_PORT: {
    schema: whole(0, 65_535),
    standard: '0',
    example: '8081',
    meaning: 'TCP port of the local Cloudinary; 0 takes a free one',
  },
  METRICS_TOKEN: {
    schema: secretText,
    example: 'a-long-random-text',
    meaning: 'bearer token that GET /metrics needs; unset, and without METRICS_PORT: only this host may read them',
    secret: true,
  },
  METRICS_PORT: {
    schema: whole(0, 65_535),
    example: '9464',
    meaning: 'TCP port of HOST on which GET /metrics is served, and nowhere else; 0 takes a free one',
  },
  LOG_LEVEL: {
    schema: oneOf('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    standard: 'info',
    example: 'debug',
    meaning: 'least severe level that is logged',
  },
} as const satisfies Record<string, Setting>;

type Name = keyof typeof settings;
type Parsed<N extends Name> = z.output<(typeof settings)[N]['schema']>;
type Value<N extends Name> = (typeof settings)[N] extends { standard: string } ? Parsed<N> : Parsed<N> | undefined;

/** The effective settings, by the names a person writes in the environment. */
export type Config = { [N in Name]: Value<N> } & {
  STAGING_DIR: string;
  /** Names of the settings that somebody set. */
  chosen: ReadonlySet<string>;
  MAX_BYTES_IN_FLIGHT: number;
  MAX_TICKET_BYTES_IN_FLIGHT: number;
};

/** Settings that do not parse. The message has one line per problem and no value of a secret setting. */
export class ConfigError extends Error {
  override name = 'ConfigError';
}

/** Reads the settings from an environment. Throws one ConfigError that names every problem. */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const problems: string[] = [];
  const chosen = new Set<string>();
  const values: Record<string, unknown> = { chosen };
  for (const [name, setting] of Object.entries(settings) as [Name, Setting][]) {
    // An empty variable is how compose files and shells say "not set".
    if (environment[name]) chosen.add(name);
    const text = environment[name] || setting.standard;
    if (text === undefined) continue;
    const result = setting.schema.safeParse(text);
    if (result.success) values[name] = result.data;
    else {
      const shown = setting.secret ? '(hidden)' : JSON.stringify(text);
      problems.push(`${name}=${shown} ${result.error.issues[0]?.message}. Example: ${name}=${setting.example}`);
    }
  }
  // Whoever began such an image would be told to come back later for ever.
  for (const name of ['STAGING_BUDGET_BYTES', 'MAX_BYTES_IN_FLIGHT', 'MAX_TICKET_BYTES_IN_FLIGHT'] as const) {
    const { [name]: room, MAX_IMAGE_BYTES: largest } = values;
    if (Number(room) >= Number(largest) || room === undefined || largest === undefined) continue;
    const example = `${name}=${settings[name].example}`;
    problems.push(`${name}="${room}" must be at least MAX_IMAGE_BYTES, ${largest}. Example: ${example}`);
  }
  if (values.METRICS_PORT !== undefined && values.METRICS_PORT !== 0 && values.METRICS_PORT === values.PORT)
    problems.push(`METRICS_PORT="${values.METRICS_PORT}" must be another port than PORT. Example: METRICS_PORT=9464`);
  if (values.STORAGE_URL !== undefined && values.CLOUDINARY_URL !== undefined)
    problems.push('STORAGE_URL=(hidden) and CLOUDINARY_URL=(hidden) both say where images go. Set one of them.');
  if (problems.length > 0)
    throw new ConfigError(`The configuration has problems:\n${problems.map((line) => `  ${line}`).join('\n')}`);
  const config = values as Config;
  config.STORAGE_URL ??= config.CLOUDINARY_URL;
  config.DATA_DIR = resolve(config.DATA_DIR);
  config.STAGING_DIR = resolve(config.STAGING_DIR ?? `${config.DATA_DIR}/staging`);
  const { MAX_IMAGE_BYTES: largest, STAGING_BUDGET_BYTES: room } = config;
  // Less than one image would refuse the largest for ever; an image that comes with a checksum is here twice for a moment.
  const least = Math.min(room, 2 * largest);
  // It takes four users to fill the staging.
  config.MAX_BYTES_IN_FLIGHT ??= Math.max(least, Math.floor(room / 4));
  // A lost upload token leaves half of that to its owner's other tickets. By default 250 photos of 5 MB may wait in a ticket.
  config.MAX_TICKET_BYTES_IN_FLIGHT ??= Math.max(least, Math.floor(config.MAX_BYTES_IN_FLIGHT / 2));
  return config;
}

/** Every setting with its effective value as text, secrets masked. */
export function describeConfig(config: Config): { name: Name; value: string; meaning: string }[] {
  return (Object.entries(settings) as [Name, Setting][]).map(([name, setting]) => {
    const value = config[name];
    const text = value === undefined ? '(unset)' : Array.isArray(value) ? value.join(',') : String(value);
    return { name, value: setting.secret && value !== undefined ? maskSecret(text) : text, meaning: setting.meaning };
  });
}

/** `postgres://hopla:secret@host/db` → `postgres://hopla:***@host/db`; query parameters may hold secrets too and go whole. */
function maskSecret(text: string): string {
  const url = URL.parse(text);
  if (!url) return '***';
  if (url.password) url.password = '***';
  return `${url.protocol}//${url.username}${url.password ? ':***' : ''}@${url.host}${url.pathname}${url.search ? '?***' : ''}`;
}

/** What documentation shows of every setting. */
export function listSettings(): { name: string; standard: string; example: string; meaning: string }[] {
  return (Object.entries(settings) as [Name, Setting][]).map(([name, { standard, example, meaning }]) => ({
    name,
    standard: standard ?? '',
    example,
    meaning,
  }));
}
