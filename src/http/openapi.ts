import Router from '@koa/router';
import { z } from 'zod';
import { type ErrorCode, errorKinds } from '../errors.ts';
import { Credentials } from '../identity/routes.ts';
import { TicketRequest } from '../tickets/open.ts';
import { ImageView, OpenedTicket, TicketDetail, TicketPageView, TicketView } from '../tickets/schemas.ts';
import type { State } from './app.ts';

type Json = Record<string, unknown>;

const SCHEMAS = '#/components/schemas/';
const TICKET_ID = '01a20744-42d0-7f3d-b606-c37eb7a9349b';

const Problem = z
  .looseObject({
    type: z.string().meta({ examples: ['/problems/ticket-full'] }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(Object.keys(errorKinds) as [ErrorCode, ...ErrorCode[]]),
    requestId: z.string(),
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457. Decide by `code`; `detail` says what to change.' });

const Session = z
  .strictObject({
    token: z.string(),
    tokenType: z.literal('Bearer'),
    expiresAt: z.iso.datetime(),
    user: z.strictObject({ id: z.uuid(), username: z.string() }),
  })
  .meta({ id: 'Session' });

const Progress = z
  .strictObject({
    ticketId: z.uuid(),
    imageId: z.uuid(),
    leg: z.enum(['upload', 'transfer']),
    bytes: z.int(),
    total: z.int().nullable(),
  })
  .meta({ id: 'Progress' });

const schemas = {
  Problem,
  Credentials: Credentials.meta({ id: 'Credentials' }),
  Session,
  TicketRequest: TicketRequest.meta({ id: 'TicketRequest' }),
  OpenedTicket,
  TicketPage: TicketPageView,
  TicketDetail,
  Ticket: TicketView,
  Image: ImageView,
  Progress,
};

const ref = (name: keyof typeof schemas) => ({ $ref: `${SCHEMAS}${name}` });
const header = (description: string, type: 'string' | 'integer' = 'string') => ({ description, schema: { type } });
const parameter = (
  place: 'path' | 'query' | 'header',
  name: string,
  description: string,
  schema: Json,
  required = place === 'path',
) => ({
  in: place,
  name,
  description,
  required,
  schema,
});
const answer = (description: string, more: Json = {}) => ({ description, ...more });
const json = (name: keyof typeof schemas, example?: Json) => ({
  content: { 'application/json': { schema: ref(name), ...(example ? { example } : {}) } },
});

/** Answers for error codes, grouped by their status. */
function problems(...codes: ErrorCode[]): Json {
  const groups = Map.groupBy(codes, (code) => errorKinds[code].status);
  return Object.fromEntries(
    [...groups].map(([status, group]) => {
      const description = group
        .map((code) => `[\`${code}\`](/problems/${code}): ${errorKinds[code].title}`)
        .join('\n\n');
      return [
        `${status}`,
        answer(description, { content: { 'application/problem+json': { schema: ref('Problem') } } }),
      ];
    }),
  );
}

const ticketId = parameter('path', 'ticketId', 'id of the ticket', {
  type: 'string',
  format: 'uuid',
  example: TICKET_ID,
});
const imageId = parameter('path', 'imageId', 'id of the image, which is the tus upload id', {
  type: 'string',
  format: 'uuid',
});
const tusResumable = parameter(
  'header',
  'Tus-Resumable',
  'the protocol version',
  { type: 'string', const: '1.0.0' },
  true,
);
const offset = { 'Upload-Offset': header('bytes that are here', 'integer') };
const octets = { content: { 'application/offset+octet-stream': { schema: { type: 'string', format: 'binary' } } } };
const eventStream = (description: string) =>
  answer(description, { content: { 'text/event-stream': { schema: { type: 'string' } } } });

const EVENTS =
  'Events: `snapshot` (a TicketDetail, always first), then `image` (an Image), `ticket` (a Ticket) and `progress` (a Progress, at most 4 a second per image). Each but `progress` has the ticket’s version as its id. After the terminal status comes `end`, and the stream closes. A comment every 15 s keeps the connection alive.';

const UPLOAD_ERRORS = ['unauthorized', 'ticket-not-found', 'unsupported-tus-version'] as const;
const IMAGE_ERRORS = ['unsupported-image', 'image-too-many-pixels', 'checksum-mismatch', 'length-exceeded'] as const;

const paths = {
  '/v1/auth/login': {
    post: {
      operationId: 'login',
      tags: ['Identity'],
      summary: 'Get a user token for a user name and password',
      security: [],
      requestBody: { required: true, ...json('Credentials', { username: 'demo', password: 'demo-password' }) },
      responses: {
        201: answer('The token; send it as `Authorization: Bearer <token>`', json('Session')),
        ...problems('malformed-json', 'invalid-credentials', 'invalid-request', 'too-many-requests'),
      },
    },
  },
  '/v1/auth/logout': {
    post: {
      operationId: 'logout',
      tags: ['Identity'],
      summary: 'Revoke the token presented',
      responses: { 204: answer('Revoked'), ...problems('unauthorized', 'forbidden') },
    },
  },
  '/v1/tickets': {
    post: {
      operationId: 'openTicket',
      tags: ['Tickets'],
      summary: 'Open a ticket for a number of images',
      parameters: [
        parameter('header', 'Idempotency-Key', 'makes a repeat return the same ticket, with a fresh upload token', {
          type: 'string',
          maxLength: 255,
        }),
      ],
      requestBody: {
        required: true,
        ...json('TicketRequest', { images: 3, description: 'Claim 4711', metadata: { claim: 4711 } }),
      },
      responses: {
        201: answer('The ticket, with its upload token', {
          headers: { Location: header('address of the ticket') },
          ...json('OpenedTicket'),
        }),
        ...problems(
          'malformed-json',
          'unauthorized',
          'forbidden',
          'body-too-large',
          'unsupported-media-type',
          'invalid-request',
          'idempotency-key-reused',
          'quota-exceeded',
          'too-many-requests',
        ),
      },
    },
    get: {
      operationId: 'listTickets',
      tags: ['Tickets'],
      summary: 'List own tickets, newest first',
      parameters: [
        parameter('query', 'status', 'repeatable, or comma-separated', {
          type: 'array',
          items: { type: 'string', enum: TicketView.shape.status.options },
        }),
        parameter('query', 'createdFrom', 'an RFC 3339 time, or a day in UTC; inclusive', {
          type: 'string',
          example: '2026-11-01',
        }),
        parameter('query', 'createdTo', 'an RFC 3339 time, or a day in UTC as a whole; inclusive', {
          type: 'string',
          example: '2026-11-30',
        }),
        parameter('query', 'limit', 'tickets on a page', { type: 'integer', minimum: 1, maximum: 100, default: 20 }),
        parameter('query', 'cursor', '`nextCursor` of the page before', { type: 'string' }),
      ],
      responses: {
        200: answer('A page', { headers: { Link: header('the next page, as rel="next"') }, ...json('TicketPage') }),
        ...problems('unauthorized', 'forbidden', 'invalid-request'),
      },
    },
  },
  '/v1/tickets/{ticketId}': {
    parameters: [ticketId],
    get: {
      operationId: 'showTicket',
      tags: ['Tickets'],
      summary: 'A ticket and its images',
      parameters: [parameter('header', 'If-None-Match', 'an earlier ETag', { type: 'string' })],
      responses: {
        200: answer('The ticket', { headers: { ETag: header('of this state') }, ...json('TicketDetail') }),
        304: answer('As before'),
        ...problems('unauthorized', 'ticket-not-found'),
      },
    },
  },
  '/v1/tickets/{ticketId}/events': {
    parameters: [ticketId],
    get: {
      operationId: 'watchTicket',
      tags: ['Progress'],
      summary: 'Watch a ticket live (server-sent events)',
      description: EVENTS,
      parameters: [
        parameter(
          'header',
          'Last-Event-ID',
          'the version seen last: when it is the current one the snapshot is left out',
          { type: 'string' },
        ),
      ],
      responses: { 200: eventStream('The stream'), ...problems('unauthorized', 'ticket-not-found') },
    },
  },
  '/v1/events': {
    get: {
      operationId: 'watchTickets',
      tags: ['Progress'],
      summary: 'Watch all own tickets on one connection',
      description: 'As for one ticket, without snapshot and end; every event names its `ticketId`.',
      responses: { 200: eventStream('The stream'), ...problems('unauthorized', 'forbidden') },
    },
  },
  '/v1/tickets/{ticketId}/uploads': {
    parameters: [ticketId],
    post: {
      operationId: 'createUpload',
      tags: ['Uploads'],
      summary: 'Claim a place and create an upload (tus creation)',
      description:
        'Any tus 1.0.0 client speaks this; see https://tus.io/protocols/resumable-upload. `Upload-Metadata` keys: `filename`, `filetype`, `sha256` (hex, of the whole file), `slot` (≤ 64 characters).',
      parameters: [
        tusResumable,
        parameter('header', 'Upload-Length', 'size of the image in bytes', { type: 'integer', minimum: 1 }),
        parameter('header', 'Upload-Defer-Length', 'instead of Upload-Length: it comes with a later PATCH', {
          type: 'string',
          const: '1',
        }),
        parameter('header', 'Upload-Metadata', 'comma-separated pairs of a key and a base64 value', { type: 'string' }),
      ],
      requestBody: { description: 'may carry the first bytes already, or all of them', ...octets },
      responses: {
        201: answer('Created, or found by its slot. An offset below the length: go on with PATCH', {
          headers: { Location: header('address of the upload'), ...offset },
        }),
        ...problems(
          ...UPLOAD_ERRORS,
          'malformed-request',
          'ticket-expired',
          'image-too-large',
          'ticket-full',
          'empty-image',
          'slot-mismatch',
          'invalid-request',
          ...IMAGE_ERRORS,
          'headers-too-large',
          'quota-exceeded',
          'too-many-requests',
          'staging-full',
          'user-staging-full',
        ),
      },
    },
    options: {
      operationId: 'describeUploads',
      tags: ['Uploads'],
      summary: 'What of tus is spoken here',
      responses: {
        204: answer('Told in headers', {
          headers: {
            'Tus-Version': header('versions'),
            'Tus-Extension': header('extensions'),
            'Tus-Max-Size': header('bytes', 'integer'),
          },
        }),
        ...problems('unauthorized', 'ticket-not-found'),
      },
    },
  },
  '/v1/tickets/{ticketId}/uploads/{imageId}': {
    parameters: [ticketId, imageId],
    head: {
      operationId: 'showOffset',
      tags: ['Uploads'],
      summary: 'Where an upload stands',
      parameters: [tusResumable],
      responses: {
        200: answer('Offset = length means: durable, and its transfer queued', {
          headers: {
            ...offset,
            'Upload-Length': header('bytes', 'integer'),
            'Upload-Metadata': header('as it came'),
            'Upload-Expires': header('when an unfinished upload ends'),
          },
        }),
        ...problems(
          ...UPLOAD_ERRORS,
          'upload-not-found',
          'upload-gone',
          'upload-locked',
          'upload-uncommitted',
          'upload-unavailable',
        ),
      },
    },
    patch: {
      operationId: 'appendToUpload',
      tags: ['Uploads'],
      summary: 'Send the next bytes',
      parameters: [
        tusResumable,
        parameter('header', 'Upload-Offset', 'where these bytes begin', { type: 'integer', minimum: 0 }, true),
      ],
      requestBody: { required: true, ...octets },
      responses: {
        204: answer('Taken. Offset = length means: durable, and its transfer queued', { headers: offset }),
        ...problems(
          ...UPLOAD_ERRORS,
          'upload-not-found',
          'offset-conflict',
          'upload-gone',
          'unsupported-media-type',
          ...IMAGE_ERRORS,
          'upload-locked',
          'upload-uncommitted',
          'upload-unavailable',
        ),
      },
    },
    delete: {
      operationId: 'cancelUpload',
      tags: ['Uploads'],
      summary: 'Cancel an unfinished upload and free its place',
      parameters: [tusResumable],
      responses: {
        204: answer('Cancelled'),
        ...problems(...UPLOAD_ERRORS, 'upload-not-found', 'upload-gone', 'upload-finished', 'upload-locked'),
      },
    },
  },
  '/healthz': {
    get: {
      operationId: 'health',
      tags: ['Running'],
      summary: 'Whether the process lives',
      security: [],
      responses: { 200: answer('It does') },
    },
  },
  '/metrics': {
    get: {
      operationId: 'metrics',
      tags: ['Running'],
      summary: 'What this process did and what waits, for Prometheus',
      security: [],
      responses: {
        200: answer('Prometheus text format', { content: { 'text/plain': { schema: { type: 'string' } } } }),
      },
    },
  },
  '/readyz': {
    get: {
      operationId: 'readiness',
      tags: ['Running'],
      summary: 'Whether all parts work',
      security: [],
      responses: { 200: answer('They do'), 503: answer('`checks` says which do not') },
    },
  },
};

/** The OpenAPI 3.1 document of everything above, from the schemas that check the requests. */
export function openApiDocument(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'hopla',
      version,
      description:
        'A streaming photo-upload gateway: open a ticket for N images, upload them resumably with any tus client, watch them arrive in your storage.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    tags: ['Identity', 'Tickets', 'Uploads', 'Progress', 'Running'].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A user token (everything of its user), or an upload token (one ticket)',
        },
      },
      schemas: componentSchemas(),
    },
  };
}

/** `GET /openapi.json`. */
export function openApiRoutes(version: string): Router<State> {
  const text = JSON.stringify(openApiDocument(version));
  const router = new Router<State>();
  router.get('/openapi.json', (ctx) => {
    ctx.type = 'application/json';
    ctx.set('Cache-Control', 'no-cache');
    ctx.body = text;
  });
  return router;
}

function componentSchemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id });
  const made = z.toJSONSchema(registry, {
    io: 'input',
    unrepresentable: 'any',
    uri: (id) => `${SCHEMAS}${id}`,
  }).schemas;
  return Object.fromEntries(Object.entries(made).map(([name, { $schema, $id, id, ...schema }]) => [name, schema]));
}
