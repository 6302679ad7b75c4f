import { bodyParser } from '@koa/bodyparser';
import type { Middleware } from 'koa';
import type { z } from 'zod';
import { HoplaError } from '../model/errors.ts';

const LIMIT_BYTES = 64 * 1024;

const parse = bodyParser({
  enableTypes: ['json'],
  jsonLimit: LIMIT_BYTES,
  jsonStrict: true,
  onError: (error) => {
    const type = 'type' in error ? error.type : undefined;
    if (type === 'entity.too.large')
      throw new HoplaError('body-too-large', `A JSON body has at most ${LIMIT_BYTES} bytes.`);
    if (type === 'encoding.unsupported' || ('status' in error && error.status === 415))
      throw new HoplaError('unsupported-media-type', 'Send the body as UTF-8, plain or compressed with gzip or br.');
    throw new HoplaError('malformed-json', 'Send one valid JSON object.', { cause: error });
  },
});

/** Reads a JSON body of at most 64 KiB into `ctx.request.body`; put it on the routes that have one. */
export const jsonBody: Middleware = async (ctx, next) => {
  if (!ctx.is('application/json'))
    throw new HoplaError('unsupported-media-type', 'Send the body as Content-Type: application/json.');
  await parse(ctx, next);
};

/** Postgres keeps no NUL in text, and half a surrogate pair has no UTF-8. */
export function isStorableText(text: string | null): boolean {
  return text === null || (text.isWellFormed() && !text.includes('\0'));
}

export const UNSTORABLE = 'must be well-formed Unicode without NUL characters';

/** Checks input by its schema. Throws 422 `invalid-request` with `errors: [{path, message}]`, all problems at once. */
export function parseInput<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  const errors = result.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message }));
  const detail = errors.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join('; ');
  throw new HoplaError('invalid-request', detail, { members: { errors } });
}
